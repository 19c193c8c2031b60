"""Exec, attach and forwarded connections, many over one guest's connection, each with a window of its own."""

import asyncio
from collections import deque
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.convert import EVENT_LENGTH, clip
from kubelet_bridge.guest.ending import Overrun
from kubelet_bridge.guest.outbox import Outbox, disconnected

_CHUNK = 64 * 1024


class Chunk(NamedTuple):
    """Output: ``channel`` is ``pb.CHANNEL_STDOUT`` or ``pb.CHANNEL_STDERR``; empty data means the channel has ended."""

    channel: int
    data: bytes


class StreamEnd(msgspec.Struct, frozen=True):
    """How a stream ended: ``error`` is a ``pb.StreamError``, 0 when the process simply ended."""

    exit_code: int
    signal: int = 0
    error: int = 0
    message: str = ""


class GuestStream:
    """One stream. Use it as an async context manager: leaving it ends what runs for it.

    Every coroutine raises ``Transient`` (``GuestDisconnected``) when the guest goes away.
    """

    def __init__(self, id_: int, window: int, outbox: Outbox, table: "StreamTable") -> None:
        self.id = id_
        self._window, self._outbox, self._table = window, outbox, table
        self._chunks: deque[Chunk] = deque()
        self._received = 0  # bytes that were sent to us and not taken by ``read``
        self._taken = 0  # bytes taken and not granted again
        self._credit = window
        self._end: StreamEnd | None = None
        self._failed: Transient | None = None
        self._closed = False
        self._stdin_ended = False
        self._news = asyncio.Event()
        self._granted = asyncio.Event()
        self._opened = asyncio.Event()
        self._finished = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def read(self) -> Chunk | None:
        """The next output; None when there is no more: then ``result`` tells how it ended."""
        while not self._chunks:
            if self._end is not None or self._closed:
                return None
            if self._failed is not None:
                raise self._failed
            self._news.clear()
            await self._news.wait()
        chunk = self._chunks.popleft()
        self._received -= len(chunk.data)
        self._grant(len(chunk.data))
        return chunk

    async def write(self, data: bytes) -> None:
        """Send input, waiting while the guest takes no more; after the end of the stream it goes nowhere."""
        view = memoryview(data)
        while view and (credit := await self._wait_credit()):
            piece = bytes(view[: min(credit, _CHUNK)])
            view = view[len(piece) :]
            self._credit -= len(piece)
            await self._outbox.send(self._data(pb.StreamData(id=self.id, channel=pb.CHANNEL_STDIN, data=piece)))

    async def close_stdin(self) -> None:
        """Nothing more will be written; output goes on."""
        if not self._over and not self._stdin_ended:
            self._stdin_ended = True
            await self._outbox.send(self._data(pb.StreamData(id=self.id, channel=pb.CHANNEL_STDIN, end=True)))

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        if not self._over:
            size = pb.TerminalSize(columns=columns, rows=rows)
            message = pb.BridgeMessage(stream_resize=pb.StreamResize(id=self.id, size=size))
            self._outbox.post(message, key=("resize", self.id))

    async def opened(self) -> bool:
        """Wait until a forwarded connection stands; False when it could not be made: ``result`` tells why."""
        await self._opened.wait()
        if self._failed is not None:
            raise self._failed
        return self._end is None or not self._end.error

    async def result(self) -> StreamEnd:
        """Wait for the end, and how it was. Output that nobody reads holds it up."""
        await self._finished.wait()
        if self._end is None:
            raise self._failed or disconnected()
        return self._end

    def close(self) -> None:
        """End what runs for it, unless it has ended. Never waits."""
        if not self._over:
            self._outbox.post(pb.BridgeMessage(stream_close=pb.StreamClose(id=self.id)))
        self._closed = True
        self._chunks.clear()
        self._table.forget(self.id)
        self._wake()

    @property
    def _over(self) -> bool:
        return self._end is not None or self._failed is not None or self._closed

    async def _wait_credit(self) -> int:
        """How much may be sent; 0 when the stream is over."""
        while self._credit <= 0 and not self._over:
            self._granted.clear()
            await self._granted.wait()
        if self._failed is not None:
            raise self._failed
        return 0 if self._over else self._credit

    def _grant(self, count: int) -> None:
        """Give back what was read, not for every few bytes."""
        self._taken += count
        if self._taken * 4 >= self._window and not self._over:
            message = pb.BridgeMessage(stream_window=pb.StreamWindow(id=self.id, bytes=self._taken))
            self._taken = 0
            self._outbox.post(message)

    def _data(self, data: pb.StreamData) -> pb.BridgeMessage:
        return pb.BridgeMessage(stream_data=data)

    def _wake(self) -> None:
        for event in (self._opened, self._news, self._granted, self._finished):
            event.set()

    # What the guest says of this stream.

    def on_data(self, data: pb.StreamData) -> None:
        """Raises ``Overrun``."""
        if data.channel not in (pb.CHANNEL_STDOUT, pb.CHANNEL_STDERR) or self._over:
            return
        self._received += len(data.data)
        if self._received + self._taken > self._window:
            raise Overrun(f"stream {self.id}: more than its window")
        if data.data:
            self._chunks.append(Chunk(data.channel, data.data))
        if data.end:
            self._chunks.append(Chunk(data.channel, b""))
        if len(self._chunks) > self._window // 16:
            raise Overrun(f"stream {self.id}: too many pieces")
        self._news.set()

    def on_opened(self) -> None:
        """The connection stands."""
        self._opened.set()

    def on_window(self, count: int) -> None:
        """The guest takes ``count`` more; never more than a window."""
        self._credit = min(self._credit + count, self._window)
        self._granted.set()

    def on_closed(self, message: pb.StreamClosed) -> None:
        """The last of it."""
        self._end = StreamEnd(message.exit_code, message.signal, message.error, clip(message.message, EVENT_LENGTH))
        self._wake()

    def fail(self, error: Transient) -> None:
        """The guest is gone."""
        if not self._over:
            self._failed = error
        self._wake()


class StreamTable:
    """The streams of one connection; ids are never used twice."""

    def __init__(self, outbox: Outbox, *, window: int, limit: int) -> None:
        self._outbox, self._window, self._limit = outbox, window, limit
        self._streams: dict[int, GuestStream] = {}
        self._last = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._streams)

    async def open(self, request: pb.StreamOpen) -> GuestStream:
        """Ask the guest for a stream of the kind in ``request``, whose id and window are filled in.

        Raises:
            Transient: the guest is gone, or has as many streams as it may.
        """
        if self._closed:
            raise disconnected()
        if len(self._streams) >= self._limit:
            raise Transient(f"the guest has {self._limit} streams open already", reason="TooManyStreams")
        self._last += 1
        request.id, request.window = self._last, self._window
        stream = self._streams[self._last] = GuestStream(self._last, self._window, self._outbox, self)
        try:
            await self._outbox.send(pb.BridgeMessage(stream_open=request))
        except BaseException:
            self.forget(stream.id)
            raise
        return stream

    def forget(self, id_: int) -> None:
        """Nobody here is interested in this stream any more; what still comes is dropped."""
        self._streams.pop(id_, None)

    def on_data(self, data: pb.StreamData) -> None:
        """Raises ``Overrun``."""
        if (stream := self._streams.get(data.id)) is not None:
            stream.on_data(data)

    def on_opened(self, message: pb.StreamOpened) -> None:
        """A forwarded connection stands."""
        if (stream := self._streams.get(message.id)) is not None:
            stream.on_opened()

    def on_window(self, message: pb.StreamWindow) -> None:
        """The guest grants more."""
        if (stream := self._streams.get(message.id)) is not None:
            stream.on_window(message.bytes)

    def on_closed(self, message: pb.StreamClosed) -> None:
        """The guest ended a stream."""
        if (stream := self._streams.pop(message.id, None)) is not None:
            stream.on_closed(message)

    def close(self) -> None:
        """The connection is gone."""
        self._closed = True
        for stream in list(self._streams.values()):
            stream.fail(disconnected())
        self._streams.clear()
