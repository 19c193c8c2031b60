"""Grouped commits: what callers are told, what is on disk, and what one that goes wrong costs the others."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import BridgeError, Terminal, Transient
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.standalone import standalone
from tests.support.store import on_thread, only_pages, slowly

_INSERT = "INSERT INTO actions (uid, nonce, action, requested_at, state) VALUES ('pod', ?, ?, '', 'pending')"
_POD = """
INSERT INTO intents VALUES ('pod', 'dpl_1', '', '', 'running', '', '', '', 0, 0, 0, 0, '', '', '', '', NULL, '{}')
"""


def put(nonce: object, filler: str = "x") -> Change:
    return Change("action.enqueue", ((_INSERT, (str(nonce), filler)),))


async def recovered(database: Database) -> None:
    """Wait for the probe that the writer sends by itself."""
    while not database.healthy:
        await asyncio.sleep(0.01)


BAD = Change("bad", ((_INSERT, ("half", "x")), ("INSERT INTO nowhere VALUES (1)", ())))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with standalone(tmp_path) as opened:
        await opened.commit(Change("pod", ((_POD, ()),)))
        yield opened


def nonces(path: Path) -> set[str]:
    """What another process sees on disk."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = {row[0] for row in connection.execute("SELECT nonce FROM actions")}
    connection.close()
    return found


async def test_callers_at_the_same_time_share_one_transaction(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    async with standalone(tmp_path, observe=lambda name, _, rows: seen.append((name, rows))) as database:
        await database.commit(Change("pod", ((_POD, ()),)))
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(database.commit(put(number)))
        async with asyncio.TaskGroup() as group:
            group.create_task(database.commit(put("last")))
            group.create_task(database.commit(Change("other", (("DELETE FROM actions WHERE nonce = '0'", ()),))))
        assert await asyncio.to_thread(nonces, database.path) == {*map(str, range(1, 100)), "last"}
    assert seen == [("pod", 1), ("action.enqueue", 100), ("group", 2)]


async def test_cancelled_callers_harm_nobody(database: Database) -> None:
    settled: list[bool] = []
    for round_ in range(10):
        async with asyncio.TaskGroup() as group:
            doomed = [
                group.create_task(database.commit(put(f"d{round_}-{number}"), settled=settled.append))
                for number in range(50)
            ]
            others = [group.create_task(database.commit(put(f"o{round_}-{number}"))) for number in range(5)]
            for number, task in enumerate(doomed):
                if number % 7 == round_ % 7:
                    await asyncio.sleep(0)
                task.cancel()
        assert [task.result() for task in others] == [1] * 5
    assert not await on_thread(database, lambda connection: connection.in_transaction)
    found = await asyncio.to_thread(nonces, database.path)
    assert {nonce for nonce in found if nonce.startswith("o")} == {f"o{r}-{n}" for r in range(10) for n in range(5)}
    assert len([nonce for nonce in found if nonce.startswith("d")]) == settled.count(True) == len(settled)


async def test_a_bad_statement_fails_its_own_caller_only(database: Database) -> None:
    results = await asyncio.gather(
        database.commit(put("before")), database.commit(BAD), database.commit(put("after")), return_exceptions=True
    )
    assert isinstance(results[1], Terminal)
    assert results[1].reason == "IntentStoreRefused"
    assert (results[0], results[2]) == (1, 1)
    assert await asyncio.to_thread(nonces, database.path) == {"before", "after"}
    assert database.healthy


@pytest.mark.parametrize("parameter", [2**70, "\ud800", object()])
async def test_a_value_that_sqlite_cannot_hold_is_refused(database: Database, parameter: object) -> None:
    change = Change("bad", ((_INSERT, (parameter, "x")),))  # type: ignore[arg-type]
    with pytest.raises(Terminal, match="refused"):
        await database.commit(change)
    assert await database.commit(put("next")) == 1


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    async with Database(tmp_path, probe=Backoff(base=0.01, cap=0.02)) as database, asyncio.TaskGroup() as group:
        writer = group.create_task(database.run())
        await database.commit(Change("pod", ((_POD, ()),)))
        await only_pages(database, 1)
        with pytest.raises(Transient) as raised:
            await database.commit(put("big", "x" * 200_000))
        assert raised.value.reason == "IntentStoreUnavailable"
        assert not database.healthy
        assert "full" in database.problem
        assert await database.read("SELECT id FROM intents") == [("dpl_1",)]
        await only_pages(database, 100_000)
        await recovered(database)
        assert await database.commit(put("big", "x" * 200_000)) == 1
        assert database.problem == ""
        writer.cancel()


async def test_a_locked_database_is_no_fault_of_the_changes(database: Database) -> None:
    await on_thread(database, lambda connection: connection.execute("PRAGMA busy_timeout = 10"))
    other = await asyncio.to_thread(sqlite3.connect, database.path, check_same_thread=False, isolation_level=None)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked"):
        await database.commit(put("one"))
    await asyncio.to_thread(other.execute, "ROLLBACK")
    await asyncio.to_thread(other.close)
    assert await database.commit(put("one")) == 1
    assert database.healthy


async def test_when_the_writer_stops_the_batch_under_way_is_finished_and_the_rest_refused(tmp_path: Path) -> None:
    async with Database(tmp_path) as database:
        writer = asyncio.get_running_loop().create_task(database.run())
        await database.commit(Change("pod", ((_POD, ()),)))
        await slowly(database, seconds=0.2)
        first = asyncio.get_running_loop().create_task(database.commit(put("first")))
        await asyncio.sleep(0.05)
        queued = asyncio.get_running_loop().create_task(database.commit(put("queued")))
        await asyncio.sleep(0)
        writer.cancel()
        assert await first == 1
        with pytest.raises(Transient, match="closed"):
            await queued
        with pytest.raises(Transient, match="closed"):
            await database.commit(put("late"))
    assert await asyncio.to_thread(nonces, tmp_path / "intents.db") == {"first"}


async def test_two_never_share_a_directory(tmp_path: Path, database: Database) -> None:
    with pytest.raises(Terminal, match=r"in use by process \d+") as raised:
        async with Database(tmp_path):
            pass
    assert raised.value.reason == "StateDirInUse"
    assert await database.commit(put("still here")) == 1


async def test_the_directory_is_private_and_free_again_afterwards(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state"
    for _ in range(2):
        async with standalone(directory):
            pass
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_cannot_be_made_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BridgeError, match="state directory"):
        async with Database(tmp_path / "file" / "state"):
            pass
