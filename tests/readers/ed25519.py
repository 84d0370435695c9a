"""Ed25519 from its description alone (RFC 8032 §5.1): slow, and for readers and test vectors only, never for real keys."""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def digest(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def recover_x(y, sign):
    """The x of a point with this y, or None."""
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if y >= P or (x * x - squared) % P or (x == 0 and sign):
        return None
    return P - x if x % 2 != sign else x


def add(a, b):
    """On extended coordinates (§5.1.4)."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    left, right = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * t1 * t2 * D, 2 * z1 * z2
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def affine(x, y):
    return x, y, 1, x * y % P


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = affine(recover_x(BASE_Y, 0), BASE_Y)


def encode(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def decode(text):
    number = int.from_bytes(text, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    x = recover_x(y, sign)
    return None if x is None else affine(x, y)


def secret(seed):
    hashed = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(hashed[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, hashed[32:]


def public(seed):
    return encode(multiply(secret(seed)[0], BASE))


def sign(seed, message):
    scalar, prefix = secret(seed)
    nonce = digest(prefix, message) % ORDER
    commitment = encode(multiply(nonce, BASE))
    answer = (nonce + digest(commitment, public(seed), message) * scalar) % ORDER
    return commitment + answer.to_bytes(32, "little")


def verifies(key, message, signature):
    if len(signature) != 64:
        return False
    point, commitment, answer = decode(key), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if point is None or commitment is None or answer >= ORDER:
        return False
    challenge = digest(signature[:32], key, message) % ORDER
    return encode(multiply(answer, BASE)) == encode(add(commitment, multiply(challenge, point)))
