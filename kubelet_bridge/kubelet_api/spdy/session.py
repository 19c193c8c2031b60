"""Runs a SPDY connection on a wire: reads, answers pings, sends, ends it when it is idle or broken.

There is no flow control: a client that is not read is stopped by TCP, with everything else it has to say. So what
comes is held per stream up to a limit, and only then the wire is left unread. The client may be gone meanwhile without
our seeing it; a ping from time to time makes TCP find out.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from kubelet_bridge.aio import tasks
from kubelet_bridge.aio.idle import Idle
from kubelet_bridge.kubelet_api.spdy.connection import Connection
from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.events import Data, Event, Failed, GoneAway, Opened, Pinged, Refused, Reset
from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus, ResetStatus
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.kubelet_api.spdy.outbox import Outbox
from kubelet_bridge.kubelet_api.spdy.stream import SpdyStream
from kubelet_bridge.kubelet_api.spdy.wire import Wire

log = structlog.get_logger(__name__)

_SLICE = 32 * 1024
_TURN = 0.005  # seconds


class SpdySession:
    """The server's side of a connection: an async context manager that owns its tasks.

    Leaving it resets the streams that are open, says GOAWAY, and waits until that is sent; leaving it with an error or
    cancelled just ends. The wire itself is its owner's to close. A stream that is not read to its end must be reset or
    discarded, or what it holds counts against the others.
    """

    def __init__(self, wire: Wire, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._wire = wire
        self._connection = Connection(self.limits)
        self._idle = Idle(self.limits.idle)
        self._outbox = Outbox(wire, self._idle.touch)
        self._streams: dict[int, SpdyStream] = {}
        self._arrived: dict[int, SpdyStream] = {}
        self._changed = asyncio.Event()
        self._held: dict[int, int] = {}
        self._total = 0
        self._relieved = asyncio.Event()
        self._over: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="SPDY session")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        try:
            if error is None:
                await self.close()
        finally:
            self._end("the session is closed")
            await tasks.cancel(self._task)

    @property
    def over(self) -> str | None:
        """Why nothing more will come, if so."""
        return self._over

    async def accept(self, admit: Callable[[SpdyStream], bool] = lambda _stream: True) -> SpdyStream | None:
        """The next stream the client opens, which is accepted by this; None when no more will come.

        Streams that ``admit`` does not want are reset without a reply.
        """
        while True:
            while not self._arrived:
                if self._over is not None:
                    return None
                self._changed.clear()
                await self._changed.wait()
            stream = self._arrived.pop(next(iter(self._arrived)))
            if admit(stream):
                self._outbox.push(self._connection.reply(stream.id))
                return stream
            stream.reset()

    async def close(self) -> None:
        """Reset what is open, say GOAWAY and wait until it is sent, at most ``limits.linger`` seconds."""
        if self._over is None:
            for stream in list(self._streams.values()):
                stream.reset()
            self._outbox.push(self._connection.goaway())
            self._end("the session is closed")
        try:
            async with asyncio.timeout(self.limits.linger):
                await self._outbox.flushed()
        except TimeoutError:
            log.debug("the client does not take our last bytes")
            self._wire.abort()

    async def send_data(self, stream_id: int, data: bytes) -> None:
        """For streams: see ``Sender``."""
        view, size = memoryview(data), self.limits.frame
        for start in range(0, len(view), size):
            await self._outbox.room(self.limits.send_buffer)
            if (stream := self._streams.get(stream_id)) is None or stream.ended is not None:
                raise StreamEnded(f"stream {stream_id} has ended")
            piece = view[start : start + size]
            self._outbox.push(self._connection.data_head(stream_id, len(piece)), piece)

    def send_fin(self, stream_id: int) -> None:
        """For streams: see ``Sender``."""
        self._outbox.push(self._connection.data_head(stream_id, 0, fin=True))
        self._forget_ended(stream_id)

    def send_reset(self, stream_id: int, status: ResetStatus) -> None:
        """For streams: see ``Sender``."""
        self._outbox.push(self._connection.reset(stream_id, status))
        self._forget_ended(stream_id)

    def taken(self, stream_id: int, cost: int) -> None:
        """For streams: see ``Sender``."""
        self._total -= cost
        self._held[stream_id] -= cost
        if not self._held[stream_id]:
            del self._held[stream_id]
        self._relieved.set()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(), name="SPDY: send")
                group.create_task(self._receive(), name="SPDY: receive")
                group.create_task(self._watch(), name="SPDY: idle")
        finally:
            self._end("the session is closed")

    async def _receive(self) -> None:
        while data := await self._wire.receive():
            self._idle.touch()
            await self._take_in(data)
            if self._over is not None:
                return
            await self._room()
        self._outbox.close()
        self._end("the client is gone")

    async def _take_in(self, data: bytes) -> None:
        """Handle ``data``. Many tiny frames are much work for few bytes: others get their turn in between."""
        clock, view = asyncio.get_running_loop().time, memoryview(data)
        begun = clock()
        for start in range(0, len(view), _SLICE):
            for event in self._connection.receive(view[start : start + _SLICE]):
                self._on(event)
            if clock() - begun > _TURN:
                await asyncio.sleep(0)
                begun = clock()

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except OSError as error:
            self._outbox.close()
            self._end(f"the client is gone: {error}")

    async def _watch(self) -> None:
        await self._idle.expired()
        log.info("SPDY connection was idle", seconds=self.limits.idle)
        self._end("the connection was idle for too long", GoAwayStatus.OK)

    def _on(self, event: Event) -> None:
        match event:
            case Data(stream_id, data, fin):
                self._data(stream_id, data, fin=fin)
            case Opened(stream_id, headers, fin):
                self._streams[stream_id] = self._arrived[stream_id] = SpdyStream(self, stream_id, headers, fin=fin)
                self._changed.set()
            case Refused(stream_id):
                self._outbox.push(self._connection.refuse(stream_id))
            case Reset(stream_id):
                self._reset(stream_id)
            case Pinged(ping_id):
                self._outbox.push(self._connection.pong(ping_id))
            case GoneAway():
                self._end("the client has ended the connection")
            case Failed(message, status):
                log.info("SPDY protocol error", error=message)
                self._end(f"protocol error: {message}", status)

    def _data(self, stream_id: int, data: bytes, *, fin: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and (cost := stream.feed(data, fin=fin)):
            self._held[stream_id] = self._held.get(stream_id, 0) + cost
            self._total += cost
        self._forget_ended(stream_id)

    def _reset(self, stream_id: int) -> None:
        self._arrived.pop(stream_id, None)
        if (stream := self._streams.pop(stream_id, None)) is not None:
            stream.end(f"stream {stream_id} was reset by the client")
            stream.discard()

    def _forget_ended(self, stream_id: int) -> None:
        if not self._connection.is_open(stream_id):
            self._streams.pop(stream_id, None)

    async def _room(self) -> None:
        """Wait while the streams hold too much, or our answers are not taken: that is, stop reading."""
        while self._crowded():
            self._relieved.clear()
            try:
                async with asyncio.timeout(self.limits.probe):
                    await self._relieved.wait()
            except TimeoutError:
                self._outbox.push(self._connection.ping())
        # Data alone never fills it so far, so that a client which only writes is not stopped by what it does not read.
        await self._outbox.room(2 * self.limits.send_buffer + self.limits.frame)

    def _crowded(self) -> bool:
        if self._over is not None or not self._held:
            return False
        return self._total > self.limits.buffer or max(self._held.values()) > self.limits.stream_buffer

    def _end(self, why: str, status: GoAwayStatus | None = None) -> None:
        if self._over is not None:
            return
        self._over = why
        if status is not None:
            self._outbox.push(self._connection.goaway(status))
        self._outbox.hurry()
        for stream in self._streams.values():
            stream.end(why)
        self._streams.clear()
        self._arrived.clear()
        self._changed.set()
        self._relieved.set()
