"""A program that saves intents for ever, and says on standard output which saves it was told are on disk.

    python writer.py DIRECTORY SAVERS

Each saver counts one intent's ``restart_count`` upwards; each line is ``uid count``.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent


async def save_for_ever(store: IntentStore, number: int) -> None:
    for restarts in count():
        await store.save(intent(number, restart_count=restarts), reason="Observed", now=NOW)
        os.write(1, f"uid-{number} {restarts}\n".encode())


async def main(directory: Path, savers: int) -> None:
    async with standalone(directory) as database, asyncio.TaskGroup() as group:
        store = await IntentStore.load(database)
        for number in range(savers):
            group.create_task(save_for_ever(store, number))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
