"""A connection to a shim, as somebody attached has it."""

from __future__ import annotations

import asyncio
import socket
from typing import Awaitable, Callable

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.host import wire
from kubelet_bridge.agent.v1 import agent_pb2 as pb

_CHANNELS = {wire.STDOUT: pb.CHANNEL_STDOUT, wire.STDERR: pb.CHANNEL_STDERR}
_LIMIT = 128 * 1024


class Attached:
    """Implements ``driver.Process`` for a container's main process. Letting go of it does nothing to it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ended: Callable[[], Awaitable[tuple[int, int]]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = ended
        self._ends = [pb.CHANNEL_STDOUT, pb.CHANNEL_STDERR]
        self._let_go = asyncio.Event()
        self._send(wire.ATTACH)

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``."""
        try:
            header = await self._reader.readexactly(wire.HEADER)
            body = await self._reader.readexactly(wire.size(header))
        except (asyncio.IncompleteReadError, OSError, wire.Broken):
            return (self._ends.pop(0), b"") if self._ends else None
        return _CHANNELS.get(header[:1], pb.CHANNEL_STDOUT), body

    async def write(self, data: bytes) -> None:
        """As in ``driver.Process``."""
        for start in range(0, len(data), wire.MAX_BODY):
            self._send(wire.STDIN, data[start : start + wire.MAX_BODY])
            await self._drain()

    async def close_stdin(self) -> None:
        """As in ``driver.Process``; the shim ends the input only if there was to be one who types (``stdinOnce``)."""
        self._send(wire.STDIN_END)
        await self._drain()

    async def resize(self, columns: int, rows: int) -> None:
        """As in ``driver.Process``."""
        self._send(wire.RESIZE, (columns & 0xFFFF).to_bytes(2, "big") + (rows & 0xFFFF).to_bytes(2, "big"))
        await self._drain()

    async def wait(self) -> tuple[int, int]:
        """The container's own exit code; nothing when we have let go of it."""
        ended = tasks.start(_of(self._ended()), "end of a container")
        released = tasks.start(self._let_go.wait(), "letting go of a container")
        try:
            await asyncio.wait({ended, released}, return_when=asyncio.FIRST_COMPLETED)
            return (0, 0) if self._let_go.is_set() else ended.result()
        finally:
            await tasks.end([ended, released])

    async def kill(self) -> None:
        """Let go."""
        self._let_go.set()
        self._writer.close()

    def _send(self, kind: bytes, body: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.frame(kind, body))

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            pass  # it has ended; reading tells


async def _of(ended: Awaitable[tuple[int, int]]) -> tuple[int, int]:
    return await ended


async def connect(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a shim.

    Raises:
        OSError: none listens there.
    """
    connecting = asyncio.get_running_loop().run_in_executor(None, wire.connect, path)
    try:
        connection = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_drop)
        raise
    try:
        return await asyncio.open_unix_connection(sock=connection, limit=_LIMIT)
    except BaseException:
        connection.close()
        raise


def _drop(connecting: asyncio.Future[socket.socket]) -> None:
    """Close what the thread has opened for somebody who has left meanwhile."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
