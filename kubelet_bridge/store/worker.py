"""aiosqlite's connection thread, given whole functions instead of single statements.

aiosqlite awaits each statement, so that a cancelled caller leaves its transaction open. A function that holds a whole
transaction runs to its end whatever happens to whoever waits, and needs one hop between threads, not one per statement.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import aiosqlite

from kubelet_bridge.store.faults import unavailable

T = TypeVar("T")


class Worker(aiosqlite.Connection):
    """One thread for all that touches the file. Await it to open; ``close`` it, or it keeps the process alive."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self._stopped: asyncio.Future[object] | None = None

    def stop(self) -> asyncio.Future[object] | None:
        """Let the thread end after what was submitted before; the future tells when."""
        self._stopped = super().stop()
        return self._stopped

    async def _connect(self) -> aiosqlite.Connection:
        # aiosqlite does not wait for its thread when opening fails, and the thread reports to a loop closed meanwhile.
        try:
            return await super()._connect()
        except BaseException:
            if self._stopped is not None:
                await asyncio.shield(self._stopped)
            raise

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` on the thread, after everything submitted before; cancelling the future does not stop it.

        Raises:
            Transient: the connection is closed.
        """
        if not self._running or self._connection is None:
            raise unavailable("it is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, function))
        return future
