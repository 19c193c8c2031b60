"""One open stream: what goes in and out of one process, within the windows, and its one end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Awaitable, Callable, NamedTuple, Union

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Process, RunError
from kubelet_bridge.agent.streaming.forward import CannotConnect
from kubelet_bridge.agent.streaming.window import Window, WindowExceeded
from kubelet_bridge.agent.v1 import agent_pb2 as pb

Send = Callable[[pb.GuestMessage], Awaitable[None]]
Opener = Callable[[], Awaitable[Process]]

# A message is no larger than this, whatever the window.
CHUNK = 64 * 1024


class CannotOpen(Exception):
    """The stream ends before it began, with this error."""

    def __init__(self, error: pb.StreamError.ValueType, message: str) -> None:
        super().__init__(message)
        self.error = error


class Resize(NamedTuple):
    """The terminal's new size."""

    columns: int
    rows: int


Input = Union[bytearray, Resize, None]
"""Bytes for the process, a new size, or None: there is no more input."""


class Stream:
    """Runs in one task (``run``); the other methods tell it what the bridge said, and never wait."""

    def __init__(self, opened: pb.StreamOpen, opener: Opener, send: Send) -> None:
        self.id = opened.id
        self._told_opened = opened.WhichOneof("kind") == "forward"
        self._opener = opener
        self._send = send
        self._outgoing = Window(opened.window)
        self._incoming = Window(opened.window)
        self._inputs: deque[Input] = deque()
        self._input_ended = False
        self._changed = asyncio.Event()
        self._granted = asyncio.Event()
        self._given_up = asyncio.Event()
        self._end = pb.StreamClosed(id=self.id)

    def data(self, message: pb.StreamData) -> None:
        """Input came."""
        if message.channel not in (pb.CHANNEL_STDIN, pb.CHANNEL_UNSPECIFIED):
            return self.fail(pb.STREAM_ERROR_INTERNAL, "only input may be sent to the guest")
        try:
            self._incoming.spend(len(message.data))
        except WindowExceeded as error:
            return self.fail(pb.STREAM_ERROR_INTERNAL, f"input beyond the window: {error}")
        if message.data and not self._input_ended:
            self._put(bytearray(message.data))
        if message.end and not self._input_ended:
            self._input_ended = True
            self._put(None)
        return None

    def window(self, size: int) -> None:
        """The bridge has taken output."""
        try:
            self._outgoing.grant(size)
        except WindowExceeded as error:
            self.fail(pb.STREAM_ERROR_INTERNAL, f"window: {error}")
        self._granted.set()

    def resize(self, size: pb.TerminalSize) -> None:
        """The terminal was resized; of several sizes that wait the last one counts."""
        if self._inputs and isinstance(self._inputs[-1], Resize):
            self._inputs.pop()
        self._put(Resize(size.columns, size.rows))

    def give_up(self) -> None:
        """Nobody is connected any more."""
        self._given_up.set()
        self._granted.set()

    def fail(self, error: pb.StreamError.ValueType, message: str) -> None:
        """End it because the rules were broken."""
        self._end.error, self._end.message = error, message
        self.give_up()

    async def run(self) -> None:
        """From the opening to ``StreamClosed``, which is sent however it ends; only a dead connection prevents that."""
        try:
            await self._whole()
        except asyncio.CancelledError:
            raise
        except CannotOpen as error:
            self._end.error, self._end.message = error.error, str(error)
        except CannotConnect as error:
            self._end.error, self._end.message = pb.STREAM_ERROR_CANNOT_CONNECT, str(error)
        except RunError as error:
            self._end.error, self._end.message = pb.STREAM_ERROR_CANNOT_RUN, error.message
            self._end.exit_code = error.exit_code
        except ConnectionError:
            return
        except Exception as error:  # noqa: BLE001 - whatever went wrong here, the other side must not wait for ever
            self._end.error, self._end.message = pb.STREAM_ERROR_INTERNAL, f"{type(error).__name__}: {error}"
        try:
            await self._send(pb.GuestMessage(stream_closed=self._end))
        except ConnectionError:
            return

    async def _whole(self) -> None:
        process = await self._opener()
        if self._told_opened:
            await self._send(pb.GuestMessage(stream_opened=pb.StreamOpened(id=self.id)))
        inward = tasks.start(self._pump_in(process), f"stream {self.id} in")
        whole = tasks.start(self._follow(process), f"stream {self.id} out")
        leaving = tasks.start(self._given_up.wait(), f"stream {self.id} end")
        try:
            await asyncio.wait({whole, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self._given_up.is_set():
                await process.kill()
            self._end.exit_code, self._end.signal = await whole
        finally:
            await tasks.end([inward, whole, leaving])
            await process.kill()

    async def _follow(self, process: Process) -> tuple[int, int]:
        """All output, then the exit code."""
        await self._pump_out(process)
        return await process.wait()

    async def _pump_out(self, process: Process) -> None:
        while await self._may_send():
            piece = await process.read()
            if piece is None:
                return
            channel, data = piece
            if data:
                await self._send_data(channel, data)
            else:
                await self._tell(pb.StreamData(id=self.id, channel=channel, end=True))

    async def _send_data(self, channel: pb.Channel.ValueType, data: bytes) -> None:
        view = memoryview(data)
        while view and await self._may_send():
            size = min(len(view), self._outgoing.left, CHUNK)
            self._outgoing.spend(size)
            await self._tell(pb.StreamData(id=self.id, channel=channel, data=bytes(view[:size])))
            view = view[size:]

    async def _tell(self, data: pb.StreamData) -> None:
        await self._send(pb.GuestMessage(stream_data=data))

    async def _may_send(self) -> bool:
        """Wait until the bridge takes more; False when nobody does."""
        while not self._outgoing.left and not self._given_up.is_set():
            self._granted.clear()
            await self._granted.wait()
        return not self._given_up.is_set()

    async def _pump_in(self, process: Process) -> None:
        while True:
            while not self._inputs:
                self._changed.clear()
                await self._changed.wait()
            item = self._inputs.popleft()
            if item is None:
                await process.close_stdin()
            elif isinstance(item, Resize):
                await process.resize(item.columns, item.rows)
            else:
                await process.write(bytes(item))
                self._incoming.grant(len(item))
                await self._send(pb.GuestMessage(stream_window=pb.StreamWindow(id=self.id, bytes=len(item))))

    def _put(self, item: Input) -> None:
        """Keep input for the process. What waits is bounded: bytes by the window, ends and sizes here."""
        last = self._inputs[-1] if self._inputs else None
        if isinstance(item, bytearray) and isinstance(last, bytearray) and len(last) < CHUNK:
            last += item
        else:
            self._inputs.append(item)
        self._changed.set()
