"""What a shim and those connected to its socket say: frames of a letter, a length (4 bytes, big endian), and a body."""

from __future__ import annotations

import os
import socket

ATTACH = b"a"  # to the shim: send me output
STDIN = b"i"  # to the shim: input
STDIN_END = b"e"  # to the shim: no more input
RESIZE = b"r"  # to the shim: columns and rows, 2 bytes each
SIGNAL = b"s"  # to the shim: a signal's number, 4 bytes; milliseconds until SIGKILL, 8 bytes
STDOUT = b"o"  # from the shim
STDERR = b"x"  # from the shim

HEADER = 5
# A longer frame is not one of ours.
MAX_BODY = 1024 * 1024


class Broken(Exception):
    """That was not a frame."""


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One frame."""
    return kind + len(body).to_bytes(4, "big") + body


def size(header: bytes) -> int:
    """The length of the body after this header.

    Raises:
        Broken: no frame is so long.
    """
    length = int.from_bytes(header[1:HEADER], "big")
    if length > MAX_BODY:
        raise Broken(f"a frame of {length} bytes")
    return length


def take(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Take the first whole frame out of the buffer; None when it is not complete yet.

    Raises:
        Broken: no frame is so long.
    """
    if len(buffer) < HEADER:
        return None
    end = HEADER + size(bytes(buffer[:HEADER]))
    if len(buffer) < end:
        return None
    kind, body = bytes(buffer[:1]), bytes(buffer[HEADER:end])
    del buffer[:end]
    return kind, body


def signal_body(number: int, grace: float) -> bytes:
    """The body of a ``SIGNAL`` frame; ``grace`` in seconds."""
    return number.to_bytes(4, "big") + int(grace * 1000).to_bytes(8, "big")


def listen(path: str) -> socket.socket:
    """A socket for its owner only, however long the path is.

    Raises:
        OSError: it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with _Short(path) as short:
        mask = os.umask(0o177)
        try:
            listener.bind(short)
        finally:
            os.umask(mask)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def connect(path: str) -> socket.socket:
    """Connect to a shim.

    Raises:
        OSError: none listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _Short(path) as short:
            connection.connect(short)
    except OSError:
        connection.close()
        raise
    connection.setblocking(False)
    return connection


class _Short:
    """A name for a path that fits into a socket's address (108 bytes), by way of its open directory."""

    def __init__(self, path: str) -> None:
        self._directory, self._name = os.path.split(path)
        self._open = -1

    def __enter__(self) -> str:
        self._open = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._open}/{self._name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._open)
