"""Writes what a client says and hears within TLS to the file that WEIR_TEE names.

Python runs this before any program when PYTHONPATH leads here, so that the client itself stays as it ships.
"""

import os
import ssl

FILE = os.open(os.environ["WEIR_TEE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "WEIR_TEE" in os.environ else None


def saying(original):
    def write(self, data, *rest):
        os.write(FILE, bytes(data))
        return original(self, data, *rest)

    return write


def hearing(original):
    def read(self, length=1024, buffer=None):
        got = original(self, length, buffer)
        os.write(FILE, got if buffer is None else bytes(memoryview(buffer)[:got]))
        return got

    return read


if FILE is not None:
    # Sockets read and write by way of these two too, but for `send`.
    for kind in (ssl.SSLObject, ssl.SSLSocket):
        kind.read, kind.write = hearing(kind.read), saying(kind.write)
    ssl.SSLSocket.send = saying(ssl.SSLSocket.send)
