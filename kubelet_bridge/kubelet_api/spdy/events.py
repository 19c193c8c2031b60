"""What a connection tells whoever runs it."""

import msgspec

from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus


class Opened(msgspec.Struct, frozen=True):
    """A stream with these headers (lower-case names); ``fin``: the client will write nothing into it."""

    stream_id: int
    headers: dict[str, str]
    fin: bool


class Refused(msgspec.Struct, frozen=True):
    """A stream too many; it is to be reset."""

    stream_id: int


class Data(msgspec.Struct, frozen=True, gc=False):
    """Bytes of an open stream; ``fin``: the last."""

    stream_id: int
    data: bytes
    fin: bool


class Reset(msgspec.Struct, frozen=True):
    """The client has ended a stream, both ways."""

    stream_id: int


class Pinged(msgspec.Struct, frozen=True):
    """The client wants this number back."""

    ping_id: int


class GoneAway(msgspec.Struct, frozen=True):
    """The client ends the connection. spdystream reads nothing after this, so nothing follows."""


class Failed(msgspec.Struct, frozen=True):
    """The client broke the protocol or went over a limit. Nothing follows; say goodbye with ``status``."""

    message: str
    status: GoAwayStatus = GoAwayStatus.PROTOCOL_ERROR


Event = Opened | Refused | Data | Reset | Pinged | GoneAway | Failed
