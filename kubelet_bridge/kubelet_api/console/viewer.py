"""One who looks at a console, and what of its output he has not taken yet."""

import asyncio
from collections import deque

from kubelet_bridge.errors import BridgeError


class Scrollback:
    """The last ``limit`` bytes of output."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """There was more."""
        self._kept += data
        del self._kept[: -self._limit]

    @property
    def content(self) -> bytes:
        """What is kept, oldest first."""
        return bytes(self._kept)


class Viewer:
    """Takes output as fast as he can; of what he cannot the oldest is skipped, and he is told how much."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._skipped = 0
        self._closed = False
        self._failed: BridgeError | None = None
        self._news = asyncio.Event()

    def show(self, data: bytes) -> None:
        """Never waits."""
        self._skipped += max(0, len(data) - self._limit)
        data = data[-self._limit :]
        self._pieces.append(data)
        self._size += len(data)
        while self._size > self._limit:
            oldest = self._pieces.popleft()
            self._size -= len(oldest)
            self._skipped += len(oldest)
        self._news.set()

    def fail(self, error: BridgeError) -> None:
        """There will be nothing more; what was shown can still be read."""
        self._failed = error
        self._news.set()

    def close(self) -> None:
        """He has seen enough."""
        self._closed = True
        self._news.set()

    async def read(self) -> bytes:
        """What was shown since; empty once closed. Raises what ``fail`` was given."""
        while not (self._pieces or self._skipped) or self._closed:
            if self._closed:
                return b""
            if self._failed is not None:
                raise self._failed
            self._news.clear()
            await self._news.wait()
        taken = b"".join(self._pieces)
        if self._skipped:
            taken = b"\r\n[%d bytes of output were skipped]\r\n" % self._skipped + taken
        self._pieces.clear()
        self._size = self._skipped = 0
        return taken
