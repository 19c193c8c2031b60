"""The outputs of a process, read in turn, never more than asked for: what is not read stays in the kernel."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Callable

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.v1 import agent_pb2 as pb

CHUNK = 64 * 1024
# Turns of the loop from a readable pipe to a finished read.
_LOOKS = 5


class Outputs:
    """What ``LocalProcess`` reads from; one reader at a time."""

    closed = False

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``."""
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """Input, where output and input are one thing."""
        raise NotImplementedError

    def linger(self, seconds: float) -> None:
        """The process has ended: outputs that others hold open end after so much silence."""
        raise NotImplementedError

    def close(self) -> None:
        """Read no more."""
        raise NotImplementedError


class PipeOutput(Outputs):
    """Stdout and stderr by two pipes."""

    def __init__(self, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self._readers = {pb.CHANNEL_STDOUT: stdout, pb.CHANNEL_STDERR: stderr}
        self._reading: dict[pb.Channel.ValueType, asyncio.Task[bytes]] = {}
        self._ended = asyncio.get_running_loop().create_future()
        self._patience: float | None = None

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``; both channels are waited for at once, and none is preferred."""
        while self._readers:
            for channel, reader in self._readers.items():
                if channel not in self._reading:
                    self._reading[channel] = tasks.start(reader.read(CHUNK), f"output {channel}")
            waiting = {*self._reading.values(), *(() if self._ended.done() else (self._ended,))}
            done, _ = await asyncio.wait(waiting, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                await self._look_again()
            piece = self._take(silent=not done)
            if piece is not None:
                return piece
        return None

    async def _look_again(self) -> None:
        """After a stall of this process its time is up at the moment at which there is data as well: data counts."""
        for _ in range(_LOOKS):
            await asyncio.sleep(0)

    def _take(self, *, silent: bool) -> tuple[pb.Channel.ValueType, bytes] | None:
        silent = silent and not any(task.done() for task in self._reading.values())
        for channel, task in list(self._reading.items()):
            if not task.done() and not (silent or self.closed):
                continue
            del self._reading[channel]
            data = b""
            if task.done():
                data = task.result()
            else:
                task.cancel()
            if data:  # the other channel's turn next
                self._readers[channel] = self._readers.pop(channel)
            else:
                del self._readers[channel]
            return channel, data
        return None

    def linger(self, seconds: float) -> None:
        """As in ``Outputs``."""
        self._patience = seconds
        _settle(self._ended)

    def close(self) -> None:
        """As in ``Outputs``."""
        self.closed = True
        self.linger(0)
        for task in self._reading.values():
            task.cancel()
        self._reading.clear()
        self._readers.clear()


class TerminalOutput(Outputs):
    """Our side of a pseudo-terminal: output and input are one descriptor, which is closed with this."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._patience: float | None = None
        self._ended = asyncio.get_running_loop().create_future()
        self._over = False

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``."""
        if self._over:
            return None
        while not self.closed:
            try:
                data = os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                if await self._until_readable():
                    continue
                data = b""
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EBADF):  # EIO: nobody has the other side open
                    raise
                data = b""
            if data:
                return pb.CHANNEL_STDOUT, data
            break
        self._over = True
        return pb.CHANNEL_STDOUT, b""

    async def write(self, data: bytes) -> None:
        """Type it."""
        view = memoryview(data)
        while view and not self.closed:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # noqa: PERF203 - the usual way to learn that a terminal takes no more
                loop = asyncio.get_running_loop()
                if not await self._until(loop.add_writer, loop.remove_writer, None):
                    return
            except OSError:
                return  # the other side is gone: nobody reads what is typed

    def linger(self, seconds: float) -> None:
        """As in ``Outputs``."""
        self._patience = seconds
        _settle(self._ended)

    def close(self) -> None:
        """As in ``Outputs``."""
        self.linger(0)
        if not self.closed:
            self.closed = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._descriptor)
            loop.remove_writer(self._descriptor)
            os.close(self._descriptor)

    async def _until_readable(self) -> bool:
        loop = asyncio.get_running_loop()
        while True:
            patience = self._patience
            if await self._until(loop.add_reader, loop.remove_reader, patience):
                return True
            if self.closed or patience is not None:
                return False

    async def _until(self, add: Callable[..., None], remove: Callable[[int], bool], patience: float | None) -> bool:
        """Wait until the descriptor is ready; False when the process ended first, or after so much silence."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        add(self._descriptor, _settle, ready)
        waiting = {ready} if patience is not None else {ready, self._ended}
        try:
            await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not self.closed:
                remove(self._descriptor)
        return ready.done()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
