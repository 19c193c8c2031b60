"""Every stream of the conversation with the bridge: opens them, hands each its messages, ends them all."""

from __future__ import annotations

import asyncio
from typing import Callable, Optional

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Driver, Process, Run
from kubelet_bridge.agent.streaming import forward
from kubelet_bridge.agent.streaming.stream import CannotOpen, Opener, Send, Stream
from kubelet_bridge.agent.streaming.window import WindowExceeded
from kubelet_bridge.agent.v1 import agent_pb2 as pb

RunOf = Callable[[str], Optional[Run]]
"""The newest run of a container by its name; None when it has none, or there is no such container."""

# Each holds at most two windows of memory and, for exec, a process.
MAX_STREAMS = 256


class Streams:
    """The streams of one connection. Not used again after ``close``.

    ``driver`` is asked for each stream, so it may come later than the first one (None: only the guest's own system).
    """

    def __init__(
        self, driver: Callable[[], Driver | None], run_of: RunOf, send: Send, *, limit: int = MAX_STREAMS
    ) -> None:
        self._driver = driver
        self._run_of = run_of
        self._send = send
        self._limit = limit
        self._open: dict[int, Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._newest = 0
        self._refusals: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._tasks)

    async def handle(self, message: pb.BridgeMessage) -> bool:
        """Act on a message about streams; False when it is about something else. Never waits for a stream."""
        kind = message.WhichOneof("body")
        if kind == "stream_open":
            await self._begin(message.stream_open)
        elif kind == "stream_data":
            if message.stream_data.id in self._open:
                self._open[message.stream_data.id].data(message.stream_data)
        elif kind == "stream_window":
            if message.stream_window.id in self._open:
                self._open[message.stream_window.id].window(message.stream_window.bytes)
        elif kind == "stream_resize":
            if message.stream_resize.id in self._open:
                self._open[message.stream_resize.id].resize(message.stream_resize.size)
        elif kind == "stream_close":
            if message.stream_close.id in self._open:
                self._open[message.stream_close.id].give_up()
        else:
            return False
        return True

    async def close(self) -> None:
        """The connection is gone: end all of them, and what runs for them."""
        for stream in list(self._open.values()):
            stream.give_up()
        await asyncio.gather(*list(self._tasks.values()), return_exceptions=True)

    async def _begin(self, opened: pb.StreamOpen) -> None:
        if opened.id <= self._newest and opened.id in self._tasks:
            return  # the bridge never uses a number twice; its stream goes on
        self._newest = max(self._newest, opened.id)
        if len(self._tasks) >= self._limit:
            await self._refuse(
                opened.id, pb.STREAM_ERROR_LIMIT, f"{self._limit} streams are open in this guest already"
            )
            return
        try:
            stream = Stream(opened, self._opener(opened), self._send)
        except WindowExceeded as error:
            await self._refuse(opened.id, pb.STREAM_ERROR_INTERNAL, str(error))
            return
        self._open[opened.id] = stream
        task = tasks.start(stream.run(), f"stream {opened.id}")
        self._tasks[opened.id] = task
        task.add_done_callback(lambda _: self._forget(opened.id))

    async def _refuse(self, number: int, error: pb.StreamError.ValueType, message: str) -> None:
        closed = pb.StreamClosed(id=number, error=error, message=message)
        await self._send(pb.GuestMessage(stream_closed=closed))

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)
        self._tasks.pop(number, None)

    def _opener(self, opened: pb.StreamOpen) -> Opener:
        async def open_it() -> Process:
            kind = opened.WhichOneof("kind")
            if kind == "exec":
                return await self._exec(opened.exec)
            if kind == "attach":
                return await self._attach(opened.attach)
            if kind == "forward":
                return await forward.connect(opened.forward.port)
            raise CannotOpen(pb.STREAM_ERROR_INTERNAL, "this agent does not know such streams; a newer one may")

        return open_it

    async def _exec(self, wanted: pb.ExecStream) -> Process:
        run = self._running(wanted.container) if wanted.container else None
        return await self._need_driver().exec(
            run,
            list(wanted.command),
            stdin=wanted.stdin,
            tty=wanted.tty,
            size=(wanted.size.columns, wanted.size.rows),
            env=[(one.name, one.value) for one in wanted.env],
        )

    async def _attach(self, wanted: pb.AttachStream) -> Process:
        run = self._running(wanted.container)
        process = await self._need_driver().attach(run, stdin=wanted.stdin, tty=wanted.tty)
        if wanted.tty and wanted.size.columns:
            await process.resize(wanted.size.columns, wanted.size.rows)
        return process

    def _need_driver(self) -> Driver:
        driver = self._driver()
        if driver is None:
            raise CannotOpen(pb.STREAM_ERROR_NO_CONTAINER, "this guest has not been told what to run yet")
        return driver

    def _running(self, container: str) -> Run:
        run = self._run_of(container)
        if run is None:
            raise CannotOpen(pb.STREAM_ERROR_NO_CONTAINER, f"container {container} has not been started in this guest")
        if run.exit is not None:
            raise CannotOpen(pb.STREAM_ERROR_NOT_RUNNING, f"container {container} is not running")
        return run
