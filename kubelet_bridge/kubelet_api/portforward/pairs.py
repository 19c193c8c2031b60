"""Which two streams are one forwarded connection (cri-streaming, portforward/httpstream.go). No I/O but an event."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum

from kubelet_bridge.kubelet_api.spdy.stream import SpdyStream

_PORT, _TYPE, _REQUEST_ID = "port", "streamtype", "requestid"


class StreamType(StrEnum):
    """What a stream is for: ``error`` carries why the connection failed, if it did."""

    ERROR = "error"
    DATA = "data"


class AlreadyAssigned(Exception):
    """The pair has such a stream."""


class Pair:
    """The streams of one connection, as far as they are there.

    Attributes:
        request_id: what the client, or we for it, call it.
        complete: both are there.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.streams: dict[StreamType, SpdyStream] = {}
        self.complete = asyncio.Event()

    @property
    def error(self) -> SpdyStream | None:
        """The stream for what goes wrong."""
        return self.streams.get(StreamType.ERROR)

    def add(self, stream: SpdyStream) -> None:
        """Take a stream that ``refusal`` found nothing wrong with. Raises ``AlreadyAssigned``."""
        type_ = StreamType(stream.headers[_TYPE])
        if type_ in self.streams:
            raise AlreadyAssigned(f"{type_} stream already assigned")
        self.streams[type_] = stream
        if len(self.streams) == len(StreamType):
            self.complete.set()


def refusal(headers: Mapping[str, str]) -> str | None:
    """Why a stream with these headers is not taken."""
    if not (port := headers.get(_PORT, "")):
        return f'"{_PORT}" header is required'
    if parse_port(port) is None:
        return f'unable to parse "{port}" as a port'
    if not (type_ := headers.get(_TYPE, "")):
        return '"streamType" header is required'
    return None if type_ in set(StreamType) else f'invalid stream type "{type_}"'


def parse_port(text: str) -> int | None:
    """The number of a port, if it is one."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        return None
    return number if 0 < (number := int(text)) < 1 << 16 else None


def port_of(stream: SpdyStream) -> int:
    """The port a taken stream is for."""
    return int(stream.headers[_PORT])


def request_id(stream: SpdyStream) -> str:
    """Its pair. Old clients send none; their data stream is the one after the error stream."""
    if given := stream.headers.get(_REQUEST_ID, ""):
        return given
    return str(stream.id if stream.headers[_TYPE] == StreamType.ERROR else stream.id - 2)
