//! A keyed hash of names: a polynomial over the prime 2^61 - 1, at a secret point. Two different names collide with a
//! probability of at most 255 / 2^61, whatever an attacker chooses, since no hash is ever shown to anybody.

const P: u64 = (1 << 61) - 1;

/// The secret point, and its inverse, with which the hash of a name's end follows from those of the name and its beginning.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey {
    /// 0 if there is none yet.
    pub point: u64,
    /// `point` times this is 1.
    pub inverse: u64,
}

impl HashKey {
    /// From random bits.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        let point = 2 + bits % (P - 3);
        // Fermat: the inverse is the power P - 2.
        let (mut inverse, mut square, mut exponent) = (1, point, P - 2);
        while exponent > 0 {
            if exponent & 1 == 1 {
                inverse = times(inverse, square);
            }
            square = times(square, square);
            exponent >>= 1;
        }
        Self { point, inverse }
    }
}

/// The hash of the bytes that were pushed so far.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameHash {
    sum: u64,
    power: u64,
}

impl NameHash {
    /// Of nothing.
    pub const EMPTY: Self = Self { sum: 0, power: 1 };

    /// Adds a byte.
    #[inline(always)]
    pub const fn push(&mut self, key: &HashKey, byte: u8) {
        self.sum = plus(self.sum, times(self.power, byte as u64 + 1));
        self.power = times(self.power, key.point);
    }

    /// The hash. Below 2^61.
    #[inline(always)]
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.sum
    }

    /// The hash of what follows these bytes in a name whose hash is `whole`; `unpower` is the inverse of the key's point to
    /// the power of their number.
    #[inline(always)]
    #[must_use]
    pub const fn rest(&self, whole: u64, unpower: u64) -> u64 {
        times(plus(whole, P - self.sum), unpower)
    }

    /// The next `unpower`, one byte on.
    #[inline(always)]
    #[must_use]
    pub const fn next_unpower(key: &HashKey, unpower: u64) -> u64 {
        times(unpower, key.inverse)
    }
}

/// Both below P.
#[inline(always)]
const fn plus(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= P { sum - P } else { sum }
}

/// Both below P. 2^61 is 1, so 2^64 is 8.
#[inline(always)]
const fn times(a: u64, b: u64) -> u64 {
    let (a_high, a_low) = (a >> 32, a & 0xffff_ffff);
    let (b_high, b_low) = (b >> 32, b & 0xffff_ffff);
    let high = a_high * b_high * 8;
    let middle = a_high * b_low + a_low * b_high;
    let low = a_low * b_low;
    let sum = high + (middle >> 29) + ((middle & ((1 << 29) - 1)) << 32) + (low >> 61) + (low & P);
    let folded = (sum >> 61) + (sum & P);
    if folded >= P { folded - P } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &HashKey, bytes: &[u8]) -> u64 {
        let mut hash = NameHash::EMPTY;
        bytes.iter().for_each(|byte| hash.push(key, *byte));
        hash.value()
    }

    #[test]
    fn multiplication_is_that_of_the_field() {
        let mut x = 0x1234_5678_9abc_def0_u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % P
        };
        for _ in 0..10_000 {
            let (a, b) = (next(), next());
            let exact = u128::from(a) * u128::from(b) % u128::from(P);
            assert_eq!(u128::from(times(a, b)), exact, "{a} {b}");
        }
        assert_eq!(times(P - 1, P - 1), 1);
    }

    #[test]
    fn the_rest_of_a_name_hashes_as_if_it_stood_alone() {
        let key = HashKey::from_random(0x0bad_cafe_dead_beef);
        assert_eq!(times(key.point, key.inverse), 1);
        let name = b"\x01a\x05tools\x07example\x03com";
        let whole = hash(&key, name);
        let (mut so_far, mut unpower) = (NameHash::EMPTY, 1);
        for (at, byte) in name.iter().enumerate() {
            assert_eq!(so_far.rest(whole, unpower), hash(&key, &name[at..]));
            so_far.push(&key, *byte);
            unpower = NameHash::next_unpower(&key, unpower);
        }
        assert_eq!(so_far.rest(whole, unpower), 0);
        assert_ne!(hash(&key, b"\0"), hash(&key, b"\0\0"));
        assert_ne!(whole, hash(&HashKey::from_random(1), name));
    }
}
