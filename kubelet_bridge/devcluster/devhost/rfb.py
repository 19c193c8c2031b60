"""The smallest screen there is: an RFB 3.8 server (RFC 6143) of one blue picture. Bytes in, bytes out."""

import struct
from enum import IntEnum

from kubelet_bridge.devcluster.devhost.streams import MemoryStream

_VERSION = b"RFB 003.008\n"
_SIDE = 32
_BLUE = b"\xff\x00\x00\x00"
_PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class _Stage(IntEnum):
    VERSION = 0
    SECURITY = 1
    INIT = 2
    MESSAGES = 3


class _Message(IntEnum):
    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    UPDATE_REQUEST = 3
    KEY = 4
    POINTER = 5
    CUT_TEXT = 6


_FIXED = {_Message.SET_PIXEL_FORMAT: 20, _Message.UPDATE_REQUEST: 10, _Message.KEY: 8, _Message.POINTER: 6}
_STAGE_SIZE = {_Stage.VERSION: 12, _Stage.SECURITY: 1, _Stage.INIT: 1}


class RfbServer:
    """One connection. Send ``greeting``, then whatever ``feed`` returns."""

    greeting = _VERSION

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._stage = _Stage.VERSION
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The server's answer to what the viewer sent.

        Raises:
            ValueError: that was no RFB.
        """
        self._buffer += data
        out = b""
        while (size := self._wanted()) is not None and len(self._buffer) >= size:
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            out += self._answer(message)
        return out

    def _wanted(self) -> int | None:
        """How long the message at the front is; None while its length cannot be told."""
        if self._stage is not _Stage.MESSAGES:
            return _STAGE_SIZE[self._stage]
        if not self._buffer:
            return None
        kind = _Message(self._buffer[0])
        if kind in _FIXED:
            return _FIXED[kind]
        if kind is _Message.SET_ENCODINGS:
            return 4 + 4 * int.from_bytes(self._buffer[2:4]) if len(self._buffer) >= 4 else None
        return 8 + int.from_bytes(self._buffer[4:8]) if len(self._buffer) >= 8 else None

    def _answer(self, message: bytes) -> bytes:
        match self._stage:
            case _Stage.VERSION:
                self._stage = _Stage.SECURITY
                return b"\x01\x01"  # one security type: None
            case _Stage.SECURITY:
                self._stage = _Stage.INIT
                return b"\x00\x00\x00\x00"  # OK
            case _Stage.INIT:
                self._stage = _Stage.MESSAGES
                return (
                    struct.pack(">HH", _SIDE, _SIDE) + _PIXEL_FORMAT + struct.pack(">I", len(self._name)) + self._name
                )
            case _Stage.MESSAGES:
                return _update() if message[0] == _Message.UPDATE_REQUEST and not message[1] else b""


def _update() -> bytes:
    """A FramebufferUpdate of the whole picture, raw. Only for non-incremental requests: the picture never changes."""
    return struct.pack(">BxHHHHHi", 0, 1, 0, 0, _SIDE, _SIDE, 0) + _BLUE * (_SIDE * _SIDE)


def screen(name: str) -> MemoryStream:
    """A viewer's connection to a server of its own."""
    server = RfbServer(name)

    def receive(data: bytes) -> None:
        try:
            stream.push(server.feed(data))
        except ValueError:
            stream.end()

    stream = MemoryStream(receive, lambda _: None)
    stream.push(server.greeting)
    return stream
