"""The file goes away or breaks under a running daemon: what is live is written again, only history is lost."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.opening import open_or_replace
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent
from tests.support.store import on_thread


def _remove_file(directory: Path) -> None:
    (directory / "intents.db").unlink()


def _remove_everything(directory: Path) -> None:
    shutil.rmtree(directory)


def _replace_by_another(directory: Path) -> None:
    other = directory / "other.db"
    open_or_replace(other).connection.close()
    other.rename(directory / "intents.db")


@pytest.mark.parametrize("harm", [_remove_file, _remove_everything, _replace_by_another])
async def test_what_was_promised_is_written_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    directory = tmp_path / "state"
    expected = [intent(number) for number in range(4)]
    async with standalone(directory) as database:
        store = await IntentStore.load(database)
        for one in expected[:3]:
            await store.save(one, reason="Accepted", now=NOW)
        await asyncio.to_thread(harm, directory)
        await store.save(expected[3], reason="Accepted", now=NOW)
        assert database.healthy
    async with standalone(directory) as database:
        store = await IntentStore.load(database)
        assert store.live() == expected
        assert [one.reason for one in await store.history("uid-0")] == ["Restored"]


async def test_a_file_that_breaks_is_set_aside_and_replaced(tmp_path: Path) -> None:
    expected = [intent(number) for number in range(300)]
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        await store.adopt(expected[:299], now=NOW)
        await on_thread(database, lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        await asyncio.to_thread(_overwrite_pages, database.path)
        await on_thread(database, lambda connection: connection.execute("PRAGMA shrink_memory").fetchall())
        await store.save(expected[299], reason="Accepted", now=NOW)
        assert database.healthy
        assert database.set_aside is not None
        assert await asyncio.to_thread(database.set_aside.exists)
    async with standalone(tmp_path) as database:
        assert sorted((await IntentStore.load(database)).live(), key=lambda one: one.id) == expected


def _overwrite_pages(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
