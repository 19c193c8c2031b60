"""The server's side of one SPDY/3.1 connection: which streams there are, and what the client's bytes mean for them.

Where spdystream (connection.go) and the draft differ, this follows spdystream, except that a stream id that is even or
not larger than those before ends the connection, as the draft has it, and frames of a stream that is not open (any
more) are dropped: the client may have sent them before it learnt of our reset.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.events import Data, Event, Failed, GoneAway, Opened, Pinged, Refused, Reset
from kubelet_bridge.kubelet_api.spdy.frames import ControlFrame, ControlType, GoAwayStatus, Malformed, ResetStatus
from kubelet_bridge.kubelet_api.spdy.headers import HeaderDecoder, HeaderEncoder, MalformedHeaders
from kubelet_bridge.kubelet_api.spdy.limits import Limits

_WORD = struct.Struct(">I")
_SYN_STREAM_FIXED = 10  # stream id, associated stream id, priority, slot
_HEADERS_FIXED = 4


@dataclass(slots=True)
class _Halves:
    """Who may still write into a stream."""

    theirs: bool
    ours: bool = True


class Connection:
    """Bytes in, events out; and bytes to send for what we do. Keeps no data of streams."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoder = frames.FrameDecoder(limits.control_frame)
        self._inflate = HeaderDecoder(limits.headers, limits.header_bytes)
        self._deflate = HeaderEncoder()
        self._streams: dict[int, _Halves] = {}
        self._last_id = 0
        self._ping_id = 0
        self._over = False

    def receive(self, data: bytes | memoryview) -> Iterator[Event]:
        """What ``data``, of any length, means. Never raises; after ``GoneAway`` and ``Failed`` it means nothing."""
        if self._over:
            return
        for frame in self._decoder.feed(data):
            event = self._event(frame)
            if event is not None:
                self._over = isinstance(event, GoneAway | Failed)
                yield event
            if self._over:
                return

    def is_open(self, stream_id: int) -> bool:
        """Whether at least one side may still write into the stream."""
        return stream_id in self._streams

    def reply(self, stream_id: int) -> bytes:
        """Accept a stream. What is returned must be sent: later replies cannot be read without it."""
        return frames.syn_reply(stream_id, self._deflate.encode({}))

    def data_head(self, stream_id: int, length: int, *, fin: bool = False) -> bytes:
        """The head of ``length`` bytes in a stream that is open for us; ``fin``: our last."""
        if fin and (halves := self._streams.get(stream_id)) is not None:
            halves.ours = False
            self._forget_ended(stream_id, halves)
        return frames.data_head(stream_id, length, fin=fin)

    def reset(self, stream_id: int, status: ResetStatus = ResetStatus.CANCEL) -> bytes:
        """End a stream both ways; nothing needs to be sent when it has ended already."""
        known = self._streams.pop(stream_id, None) is not None
        return frames.rst_stream(stream_id, status) if known else b""

    def refuse(self, stream_id: int) -> bytes:
        """The answer to a stream too many."""
        return frames.rst_stream(stream_id, ResetStatus.REFUSED_STREAM)

    def pong(self, ping_id: int) -> bytes:
        """The answer to a ping."""
        return frames.ping(ping_id)

    def ping(self) -> bytes:
        """Make the client answer. Its answer is no event; bytes that come at all are enough to know."""
        self._ping_id = (self._ping_id + 2) & frames.MAX_STREAM_ID or 2
        return frames.ping(self._ping_id)

    def goaway(self, status: GoAwayStatus = GoAwayStatus.OK) -> bytes:
        """End the connection."""
        return frames.goaway(self._last_id, status)

    def _event(self, frame: frames.Frame) -> Event | None:
        match frame:
            case frames.DataPart(stream_id, data, fin):
                return self._data(stream_id, data, fin=fin)
            case Malformed(message):
                return Failed(message)
            case ControlFrame(type_, _, payload):
                try:
                    return self._control(frame)
                except MalformedHeaders as error:
                    return Failed(str(error))
                except struct.error:
                    return Failed(f"{type_.name} of {len(payload)} bytes")

    def _data(self, stream_id: int, data: bytes, *, fin: bool) -> Event | None:
        halves = self._streams.get(stream_id)
        if halves is None or not halves.theirs:
            return None
        if fin:
            halves.theirs = False
            self._forget_ended(stream_id, halves)
        return Data(stream_id, data, fin)

    def _control(self, frame: ControlFrame) -> Event | None:
        """Raises ``struct.error`` when the payload is too short."""
        (first,) = _WORD.unpack_from(frame.payload)
        match frame.type:
            case ControlType.SYN_STREAM:
                return self._syn_stream(first, frame)
            case ControlType.HEADERS | ControlType.SYN_REPLY:
                self._inflate.decode(frame.payload[_HEADERS_FIXED:])
                return self._data(first, b"", fin=True) if frame.flags & frames.FIN else None
            case ControlType.RST_STREAM:
                return Reset(first) if self._streams.pop(first, None) is not None else None
            case ControlType.PING:
                if first == 0:
                    return Failed("ping 0")
                return Pinged(first) if first & 1 else None
            case ControlType.GOAWAY:
                return GoneAway()

    def _syn_stream(self, stream_id: int, frame: ControlFrame) -> Event:
        if len(frame.payload) < _SYN_STREAM_FIXED:
            return Failed(f"SYN_STREAM of {len(frame.payload)} bytes")
        headers = self._inflate.decode(frame.payload[_SYN_STREAM_FIXED:])
        if stream_id > frames.MAX_STREAM_ID or stream_id % 2 == 0 or stream_id <= self._last_id:
            return Failed(f"stream {stream_id} after {self._last_id}")
        self._last_id = stream_id
        if len(self._streams) >= self._limits.streams:
            return Refused(stream_id)
        fin = bool(frame.flags & frames.FIN)
        self._streams[stream_id] = _Halves(theirs=not fin)
        return Opened(stream_id, headers, fin)

    def _forget_ended(self, stream_id: int, halves: _Halves) -> None:
        if not halves.theirs and not halves.ours:
            del self._streams[stream_id]
