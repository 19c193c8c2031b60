"""The frames in which a container's outputs share one connection (Docker's "stdcopy"); no I/O.

A frame is eight bytes, the stream (1 is stdout, 2 is stderr), three zeros and the length, big-endian, then the data.
"""

from __future__ import annotations

import struct

STDOUT = 1
STDERR = 2
_HEAD = struct.Struct(">BxxxL")


class NotStdcopy(ValueError):
    """The bytes are not such frames."""


class Decoder:
    """Takes bytes as they come and gives what they hold; a frame need not be complete to give its first part."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Streams and pieces, in order.

        Raises:
            NotStdcopy: a frame's first bytes make no sense.
        """
        found: list[tuple[int, bytes]] = []
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                found.append((self._stream, bytes(piece)))
                continue
            missing = _HEAD.size - len(self._head)
            self._head += bytes(view[:missing])
            view = view[missing:]
            if len(self._head) == _HEAD.size:
                self._begin()
        return found

    def _begin(self) -> None:
        self._stream, self._left = _HEAD.unpack(self._head)
        if self._stream not in {STDOUT, STDERR} or self._head[1:4] != b"\0\0\0":
            raise NotStdcopy(f"frame begins with {self._head!r}")
        self._head = b""
