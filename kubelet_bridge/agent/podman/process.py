"""A process in a container that somebody is connected to, over one of podman's bare connections."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Awaitable, Callable

from kubelet_bridge.agent.podman.stdcopy import STDOUT, Decoder
from kubelet_bridge.agent.v1 import agent_pb2 as pb

_READ = 64 * 1024

Resize = Callable[[int, int], Awaitable[None]]
Result = Callable[[], Awaitable[int]]
Kill = Callable[[], Awaitable[None]]


class HijackedProcess:
    """Implements ``driver.Process``."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
        resize: Resize,
        result: Result,
        kill: Kill,
    ) -> None:
        """``result`` is asked for the exit code once the connection has ended; ``kill`` ends the other end."""
        self._reader = reader
        self._writer = writer
        self._decoder = None if tty else Decoder()
        self._resize = resize
        self._result = result
        self._kill = kill
        self._ready: deque[tuple[pb.Channel.ValueType, bytes]] = deque()
        self._ended = asyncio.Event()

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``."""
        while not self._ready:
            if self._ended.is_set():
                return None
            try:
                data = await self._reader.read(_READ)
            except ConnectionError:
                data = b""
            if data:
                self._take(data)
            else:
                self._end()
        return self._ready.popleft()

    async def write(self, data: bytes) -> None:
        """As in ``driver.Process``; input for what reads no more is thrown away."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            pass

    async def close_stdin(self) -> None:
        """As in ``driver.Process``. A terminal has no end of input; its end-of-file character stands for it."""
        if self._decoder is None:
            await self.write(b"\x04")
        elif self._writer.can_write_eof():
            try:
                self._writer.write_eof()
            except OSError:
                pass  # the other side was faster

    async def resize(self, columns: int, rows: int) -> None:
        """As in ``driver.Process``."""
        if self._decoder is None and columns and rows:
            await self._resize(columns, rows)

    async def wait(self) -> tuple[int, int]:
        """As in ``driver.Process``; podman does not tell a signal from a code above 128."""
        await self._ended.wait()
        return await self._result(), 0

    async def kill(self) -> None:
        """As in ``driver.Process``."""
        ended = self._ended.is_set()
        self._writer.close()
        if not ended:
            self._end()
            await self._kill()

    def _take(self, data: bytes) -> None:
        if self._decoder is None:
            self._ready.append((pb.CHANNEL_STDOUT, data))
            return
        for stream, piece in self._decoder.feed(data):
            self._ready.append((pb.CHANNEL_STDOUT if stream == STDOUT else pb.CHANNEL_STDERR, piece))

    def _end(self) -> None:
        self._ready.append((pb.CHANNEL_STDOUT, b""))
        if self._decoder is not None:
            self._ready.append((pb.CHANNEL_STDERR, b""))
        self._ended.set()
