"""A database that brings its own writer, for whoever is not the daemon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kubelet_bridge.store.database import Database, Observer


@asynccontextmanager
async def standalone(
    directory: Path, *, observe: Observer | None = None, anew: bool = False
) -> AsyncIterator[Database]:
    """Open the database of a state directory with a task that writes; both end with the block.

    Raises:
        Terminal: the directory is in use, or a newer version wrote the database.
        Transient: the disk does not let us.
    """
    async with Database(directory, observe=observe, anew=anew) as database:
        writer = asyncio.get_running_loop().create_task(database.run(), name="intent store")
        try:
            yield database
        finally:
            writer.cancel()
            await asyncio.wait([writer])
        if not writer.cancelled():
            writer.result()
