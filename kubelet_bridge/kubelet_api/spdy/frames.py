"""Frames of SPDY/3.1: bytes in any pieces to frames, frames to bytes.

Layout: SPDY/3 draft, 2.2. A control frame is ``1`` (1 bit), version (15), type (16), flags (8), length (24); a data
frame ``0`` (1 bit), stream id (31), flags (8), length (24). Both are followed by ``length`` bytes.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

VERSION = 3
FIN = 0x01
MAX_LENGTH = (1 << 24) - 1
MAX_STREAM_ID = (1 << 31) - 1
HEAD_BYTES = 8

_CONTROL_BIT = 1 << 31
_HEAD = struct.Struct(">II")
_WORD = struct.Struct(">I")
_SYN_STREAM = struct.Struct(">IIBB")


class ControlType(IntEnum):
    """The control frames that mean something here. SETTINGS, WINDOW_UPDATE and unknown ones are skipped."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    GOAWAY = 7
    HEADERS = 8


class ResetStatus(IntEnum):
    """Why a stream is reset (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6


class GoAwayStatus(IntEnum):
    """Why a connection ends (2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class ControlFrame(msgspec.Struct, frozen=True, gc=False):
    """A whole control frame; ``payload`` is what follows its head."""

    type: ControlType
    flags: int
    payload: bytes


class DataPart(msgspec.Struct, frozen=True, gc=False):
    """Data of one stream: a frame, a part of one, or what stood in several in a row. ``fin``: its last."""

    stream_id: int
    data: bytes
    fin: bool


class Malformed(msgspec.Struct, frozen=True):
    """What came is no frame that we take. It is the last: nothing after it can be made sense of."""

    message: str


Frame = ControlFrame | DataPart | Malformed


def control(type_: ControlType, payload: bytes, flags: int = 0) -> bytes:
    """A control frame. ``payload`` is at most ``MAX_LENGTH`` bytes long."""
    return _HEAD.pack(_CONTROL_BIT | VERSION << 16 | type_, flags << 24 | len(payload)) + payload


def data_head(stream_id: int, length: int, *, fin: bool = False) -> bytes:
    """The head of a data frame, to be followed by ``length`` bytes (at most ``MAX_LENGTH``)."""
    return _HEAD.pack(stream_id, (FIN if fin else 0) << 24 | length)


def syn_stream(stream_id: int, block: bytes, *, fin: bool = False) -> bytes:
    """Opens a stream with the headers in ``block``; only clients do."""
    payload = _SYN_STREAM.pack(stream_id, 0, 0, 0) + block
    return control(ControlType.SYN_STREAM, payload, FIN if fin else 0)


def syn_reply(stream_id: int, block: bytes) -> bytes:
    """Accepts a stream."""
    return control(ControlType.SYN_REPLY, _WORD.pack(stream_id) + block)


def rst_stream(stream_id: int, status: ResetStatus) -> bytes:
    """Ends a stream both ways."""
    return control(ControlType.RST_STREAM, _HEAD.pack(stream_id, status))


def ping(ping_id: int) -> bytes:
    """Asks for the same back, or is the answer."""
    return control(ControlType.PING, _WORD.pack(ping_id))


def goaway(last_stream_id: int, status: GoAwayStatus) -> bytes:
    """Ends the connection."""
    return control(ControlType.GOAWAY, _HEAD.pack(last_stream_id, status))


class _Piece(NamedTuple):
    """As much of one data frame as was there."""

    stream_id: int
    data: memoryview
    fin: bool


_READ = frozenset(ControlType)


class FrameDecoder:
    """Frames out of a byte stream. Holds back at most one control frame; data is passed on as it comes."""

    def __init__(self, control_limit: int) -> None:
        self._control_limit = control_limit
        self._held = bytearray()  # of a head, or of a control frame with its head
        self._wanted = HEAD_BYTES
        self._left = 0  # bytes of the frame we are in, when it is a data frame or is skipped
        self._stream_id = 0  # 0: skipped
        self._fin = False
        self._broken = False

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """What is complete with ``data``; consecutive data of one stream in one part."""
        run: list[memoryview] = []
        run_id = 0
        for one in self._pieces(memoryview(data)):
            if run and not (isinstance(one, _Piece) and one.stream_id == run_id):
                yield DataPart(run_id, b"".join(run), fin=False)
                run.clear()
            if not isinstance(one, _Piece):
                yield one
                continue
            run_id = one.stream_id
            run.append(one.data)
            if one.fin:
                yield DataPart(run_id, b"".join(run), fin=True)
                run.clear()
        if run:
            yield DataPart(run_id, b"".join(run), fin=False)

    def _pieces(self, view: memoryview) -> Iterator[ControlFrame | Malformed | _Piece]:
        at = 0
        while at < len(view) and not self._broken:
            if self._left:
                piece = view[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._stream_id:
                    yield _Piece(self._stream_id, piece, self._fin and not self._left)
                continue
            piece = view[at : at + self._wanted - len(self._held)]
            at += len(piece)
            self._held += piece
            if len(self._held) == self._wanted and (one := self._complete()) is not None:
                yield one

    def _complete(self) -> ControlFrame | Malformed | _Piece | None:
        """All of ``_wanted`` is there: a head, or a control frame."""
        first, second = _HEAD.unpack_from(self._held)
        flags, length = second >> 24, second & MAX_LENGTH
        if not first & _CONTROL_BIT:
            return self._data(first, flags, length)
        if self._wanted == HEAD_BYTES:
            version, type_ = first >> 16 & 0x7FFF, first & 0xFFFF
            if version != VERSION:
                return self._malformed(f"version {version} of SPDY")
            if type_ not in _READ:
                self._next_frame(left=length)
                return None
            if length > self._control_limit:
                return self._malformed(f"a control frame of {length} bytes")
            self._wanted += length
            if length:
                return None
        frame = ControlFrame(ControlType(first & 0xFFFF), flags, bytes(self._held[HEAD_BYTES:]))
        self._next_frame()
        return frame

    def _data(self, stream_id: int, flags: int, length: int) -> Malformed | _Piece | None:
        if stream_id == 0:
            return self._malformed("data of stream 0")
        self._next_frame(left=length)
        self._stream_id, self._fin = stream_id, bool(flags & FIN)
        return _Piece(stream_id, memoryview(b""), fin=True) if self._fin and not length else None

    def _next_frame(self, *, left: int = 0) -> None:
        self._held.clear()
        self._wanted, self._left, self._stream_id, self._fin = HEAD_BYTES, left, 0, False

    def _malformed(self, message: str) -> Malformed:
        self._broken = True
        return Malformed(message)
