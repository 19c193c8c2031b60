"""A bcrypt hash of a password, the only kind that docker-registry takes, by the system's libcrypt (crypt(3))."""

import ctypes
import secrets

from kubelet_bridge.errors import Terminal

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ROUNDS = 5


def hashed(password: str) -> str:
    """The line's second half for an htpasswd file, with a salt of its own.

    Raises:
        Terminal: this system's libcrypt knows no bcrypt.
    """
    # 16 random bytes as 22 characters; of the last one only the upper two bits count.
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(21)) + secrets.choice(".Oeu")
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except OSError as error:
        raise Terminal(f"a password for the private registry: {error}") from error
    crypt.restype, crypt.argtypes = ctypes.c_char_p, (ctypes.c_char_p, ctypes.c_char_p)
    found: bytes | None = crypt(password.encode(), f"$2b${_ROUNDS:02}${salt}".encode())
    if found is None or not found.startswith(b"$2b$"):
        raise Terminal("this system's libcrypt knows no bcrypt")
    return found.decode()
