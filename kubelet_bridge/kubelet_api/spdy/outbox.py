"""What waits to be sent. Queueing never waits, so a frame is queued whole or not at all, also for who is cancelled."""

import asyncio
from collections.abc import Callable

from kubelet_bridge.kubelet_api.spdy.wire import Wire


class Outbox:
    """A queue of bytes and the loop that empties it into a wire. Who queues much asks for ``room`` first."""

    def __init__(self, wire: Wire, sent: Callable[[], None]) -> None:
        self._wire, self._sent = wire, sent
        self._queue: list[bytes | memoryview] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._closed = False
        self._hurried = False

    def push(self, *pieces: bytes | memoryview) -> None:
        """Queue ``pieces``; once closed, drop them."""
        size = sum(map(len, pieces))
        if size and not self._closed:
            self._queue += pieces
            self._size += size
            self._filled.set()

    async def room(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are queued or being sent, or nobody is to wait any longer."""
        while self._size > limit and not self._hurried:
            await self._less()

    async def flushed(self) -> None:
        """Wait until all is sent, or it is closed."""
        while self._size:
            await self._less()

    def hurry(self) -> None:
        """Let nobody wait for room any longer; what is queued is still sent."""
        self._hurried = True
        self._emptied.set()

    def close(self) -> None:
        """Nothing more will be sent; nobody waits any longer."""
        self._closed = True
        self._queue.clear()
        self._size = 0
        self._emptied.set()

    async def run(self) -> None:
        """Send for ever.

        Raises:
            OSError: the wire is gone.
        """
        while True:
            await self._filled.wait()
            self._filled.clear()
            batch, self._queue = self._queue, []
            data = b"".join(batch)
            del batch
            await self._wire.send(data)
            self._sent()
            self._size = max(self._size - len(data), 0)
            self._emptied.set()

    async def _less(self) -> None:
        self._emptied.clear()
        await self._emptied.wait()
