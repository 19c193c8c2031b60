"""Reaching the database's own connection, to make it fail on purpose."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from kubelet_bridge.store.database import Database

T = TypeVar("T")


async def on_thread(database: Database, function: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``function`` on the connection that writes, in turn with the batches."""

    def call() -> T:
        opened = database._session._opened
        assert opened is not None
        return function(opened.connection)

    return await database._worker.submit(call)


async def only_pages(database: Database, count: int) -> None:
    """Let the file grow to ``count`` pages, or to what it has already: SQLite then says that the disk is full."""
    await on_thread(database, lambda connection: connection.execute(f"PRAGMA max_page_count = {count}").fetchall())


async def slowly(database: Database, *, seconds: float) -> None:
    """Make each statement on ``actions`` take that long."""

    def wait() -> int:
        time.sleep(seconds)
        return 0

    def prepare(connection: sqlite3.Connection) -> None:
        connection.create_function("wait", 0, wait)
        connection.execute("CREATE TEMP TRIGGER slow AFTER INSERT ON main.actions BEGIN SELECT wait(); END")

    await on_thread(database, prepare)
