"""A SPDY/3.1 client as Go's are: opens streams, reads them all the time. Frames are ours, the state is its own."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.frames import ControlType, GoAwayStatus, ResetStatus
from kubelet_bridge.kubelet_api.spdy.headers import HeaderDecoder, HeaderEncoder
from kubelet_bridge.kubelet_api.spdy.wire import Wire

PORT_FORWARD = "portforward.k8s.io"


class StreamReset(Exception):
    """The server has reset the stream."""


@dataclass(eq=False)
class ClientStream:
    client: "SpdyClient"
    id: int
    replied: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: bytearray = field(default_factory=bytearray)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    fin: bool = False
    reset_by_server: ResetStatus | None = None
    closed: bool = False

    async def read(self) -> bytes:
        while not self.inbox:
            if self.fin:
                return b""
            if self.reset_by_server is not None or self.closed:
                raise StreamReset
            self.changed.clear()
            await self.changed.wait()
        data = bytes(self.inbox)
        self.inbox.clear()
        return data

    async def read_all(self) -> bytes:
        """Up to FIN or RST."""
        parts = []
        with contextlib.suppress(StreamReset):
            while data := await self.read():
                parts.append(data)
        return b"".join(parts)

    async def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.read()
            assert piece, "ended early"
            data += piece
        return data

    async def write(self, data: bytes, *, fin: bool = False) -> None:
        await self.client.send(frames.data_head(self.id, len(data), fin=fin) + data)

    async def close(self) -> None:
        await self.write(b"", fin=True)

    async def reset(self) -> None:
        await self.client.send(frames.rst_stream(self.id, ResetStatus.CANCEL))


class SpdyClient:
    """An async context manager; leaving it does not say goodbye."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.streams: dict[int, ClientStream] = {}
        self.pongs: asyncio.Queue[int] = asyncio.Queue()
        self.goaway: asyncio.Future[GoAwayStatus] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.deflate, self.inflate = HeaderEncoder(), HeaderDecoder(64, 16384)
        self.next_id = 1
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "SpdyClient":
        self._task = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def send(self, data: bytes) -> None:
        await self.wire.send(data)

    async def open(self, headers: Mapping[str, str], *, fin: bool = False, wait: bool = True) -> ClientStream:
        stream = self.streams[self.next_id] = ClientStream(self, self.next_id)
        self.next_id += 2
        await self.send(frames.syn_stream(stream.id, self.deflate.encode(headers), fin=fin))
        if wait:
            await stream.replied.wait()
        return stream

    async def ping(self, number: int) -> int:
        await self.send(frames.ping(number))
        return await self.pongs.get()

    async def _read(self) -> None:
        decoder = frames.FrameDecoder(1 << 20)
        while data := await self.wire.receive():
            for frame in decoder.feed(data):
                await self._on(frame)
        self.ended.set()
        for stream in self.streams.values():
            stream.closed = True
            stream.replied.set()
            stream.changed.set()

    async def _on(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.DataPart):
            stream = self.streams[frame.stream_id]
            assert stream.replied.is_set(), "data before SYN_REPLY"
            assert not stream.fin, "data after FIN"
            stream.inbox += frame.data
            stream.fin = frame.fin
            stream.changed.set()
            return
        assert isinstance(frame, frames.ControlFrame), frame
        (number,) = struct.unpack_from(">I", frame.payload)
        if frame.type is ControlType.SYN_REPLY:
            self.inflate.decode(frame.payload[4:])
            self.streams[number].replied.set()
        elif frame.type is ControlType.RST_STREAM:
            (status,) = struct.unpack_from(">I", frame.payload, 4)
            self.streams[number].reset_by_server = ResetStatus(status)
            self.streams[number].replied.set()
            self.streams[number].changed.set()
        elif frame.type is ControlType.PING:
            if number % 2 == 0:
                await self.send(frames.ping(number))
            else:
                self.pongs.put_nowait(number)
        elif frame.type is ControlType.GOAWAY:
            (status,) = struct.unpack_from(">I", frame.payload, 4)
            self.goaway.set_result(GoAwayStatus(status))


class SocketWire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self) -> bytes:
        try:
            return await self.reader.read(1 << 18)
        except (ConnectionError, ssl.SSLError):
            return b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        self.writer.transport.abort()


class WebSocketClientWire:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def receive(self) -> bytes:
        message = await self.socket.receive()
        return bytes(message.data) if message.type is aiohttp.WSMsgType.BINARY else b""

    async def send(self, data: bytes) -> None:
        await self.socket.send_bytes(data)

    def abort(self) -> None:
        raise NotImplementedError


@dataclass
class Answer:
    """What the server answered to a request to upgrade; ``wire`` when it switched."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    wire: SocketWire

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]


@asynccontextmanager
async def upgrade(
    port: int, path: str, *, tls: ssl.SSLContext | None = None, method: str = "POST",
    protocols: tuple[str, ...] = (PORT_FORWARD,), extra: tuple[str, ...] = ("Content-Length: 0",),
) -> AsyncIterator[Answer]:  # fmt: skip
    """A connection after its request to become SPDY, as client-go's spdy.RoundTripper writes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 20)
    try:
        lines = [f"{method} {path} HTTP/1.1", "Host: node", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        lines += [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        writer.write("\r\n".join([*lines, *extra, "", ""]).encode())
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in rest)]
        length = int(dict(headers).get("content-length", "0"))
        body = (await reader.readexactly(length)).decode()
        yield Answer(int(first.split()[1]), headers, body, SocketWire(reader, writer))
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
