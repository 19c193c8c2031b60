"""What is on the disk when the daemon starts, and what becomes of it."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kubelet_bridge.errors import Terminal, Transient
from kubelet_bridge.store import schema
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.opening import FILE_NAME, open_or_replace, set_aside
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent

VERSION_1 = (Path(__file__).parent / "intents-v1.sql").read_text()


def test_an_empty_directory_gets_every_migration(tmp_path: Path) -> None:
    opened = open_or_replace(tmp_path / FILE_NAME)
    assert schema.version(opened.connection) == len(schema.shipped())
    assert opened.fresh
    assert opened.set_aside is None
    opened.connection.close()


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    opened = open_or_replace(tmp_path / FILE_NAME)
    opened.connection.execute("INSERT INTO probe VALUES (1, 'x')")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    pragmas = {
        name: opened.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    opened.connection.close()
    assert modes == {"intents.db": 0o600, "intents.db-wal": 0o600, "intents.db-shm": 0o600}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_database_of_version_1_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as old:
        old.executescript(VERSION_1)
    old.close()
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        assert not database.fresh
        assert [(one.id, one.status, one.restart_count) for one in store.live()] == [("dpl_a1b2c3d4", "running", 2)]
        assert [one.to_status for one in await store.history("8d5c9f0e-1")] == ["provisioning", "running"]
        assert store.unreadable == ["8d5c9f0e-3"]


def test_a_later_migration_runs_once_and_a_failing_one_not_at_all(tmp_path: Path) -> None:
    opened = open_or_replace(tmp_path / FILE_NAME)
    later = [*schema.shipped(), "ALTER TABLE intents ADD COLUMN tier TEXT NOT NULL DEFAULT '';"]
    schema.migrate(opened.connection, later)
    schema.migrate(opened.connection, later)
    assert schema.version(opened.connection) == len(later)
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(opened.connection, [*later, "CREATE TABLE half (x); CREATE TABLE intents (y);"])
    tables = {row[0] for row in opened.connection.execute("SELECT name FROM sqlite_master")}
    assert schema.version(opened.connection) == len(later)
    assert "half" not in tables
    opened.connection.close()


def test_a_database_from_the_future_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with sqlite3.connect(path) as future:
        future.execute("PRAGMA user_version = 999")
    future.close()
    before = path.read_bytes()
    with pytest.raises(Terminal, match="schema version 999") as raised:
        open_or_replace(path)
    assert raised.value.reason == "IntentStoreTooNew"
    assert path.read_bytes() == before
    assert list(tmp_path.glob("*corrupt*")) == []


def _garbage(path: Path) -> None:
    path.write_bytes(b"this was never a database\n" * 400)


def _cut_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _hole(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8192)


def _without_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE actions")
    database.close()


def _garbage_wal(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"\xff" * 40000)


def _one_byte_left(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1)


def _wal_with_another_head(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO probe VALUES (1, 'x')")
        database.commit()
        log = bytearray(path.with_name(f"{path.name}-wal").read_bytes())
    database.close()
    log[20] ^= 1
    path.with_name(f"{path.name}-wal").write_bytes(log)


def _wal_alone(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO probe VALUES (1, 'x')")
        database.commit()
        shutil.copy(f"{path}-wal", path.parent / "kept")
    database.close()
    path.unlink()
    (path.parent / "kept").rename(f"{path}-wal")


def _contents(directory: Path) -> dict[str, bytes]:
    found = {file.name.removeprefix(FILE_NAME): file.read_bytes() for file in directory.glob(f"{FILE_NAME}*")}
    return {suffix: content for suffix, content in found.items() if suffix != "-shm"}


async def _filled(directory: Path, count: int = 200) -> Path:
    async with standalone(directory) as database:
        store = await IntentStore.load(database)
        await store.adopt([intent(number) for number in range(count)], now=NOW)
        return database.path


@pytest.mark.parametrize(
    "damage",
    [_garbage, _cut_short, _one_byte_left, _hole, _without_tables, _garbage_wal, _wal_with_another_head, _wal_alone],
)
async def test_a_damaged_database_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = await _filled(tmp_path)
    damage(path)
    damaged = _contents(tmp_path)
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        assert store.live() == []
        assert database.fresh
        assert database.set_aside is not None
        kept = {
            suffix: database.set_aside.with_name(database.set_aside.name + suffix).read_bytes() for suffix in damaged
        }
        assert kept == damaged
        await store.save(intent(), reason="Accepted", now=NOW)
    async with standalone(tmp_path) as database:
        assert (await IntentStore.load(database)).get("uid-1") == intent()
        assert database.set_aside is None


async def test_a_torn_wal_tail_loses_only_what_was_never_acknowledged(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    async with standalone(tmp_path / "running") as database:
        store = await IntentStore.load(database)
        await store.save(intent(), reason="Accepted", now=NOW)
        for suffix in ("", "-wal"):
            shutil.copy(f"{database.path}{suffix}", crashed)
    with (crashed / f"{FILE_NAME}-wal").open("ab") as wal:
        wal.write(b"\x5a" * 6000)
    async with standalone(crashed) as database:
        assert (await IntentStore.load(database)).get("uid-1") == intent()
        assert database.set_aside is None


def test_nothing_set_aside_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    names = set()
    for number in range(5):
        path.write_text(f"damaged {number}")
        names.add(set_aside(path))
    assert {name.read_text() for name in names} == {f"damaged {number}" for number in range(5)}


def test_a_disk_that_says_no_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.mkdir()
    with pytest.raises(Transient) as raised:
        open_or_replace(path)
    assert raised.value.reason == "IntentStoreUnavailable"
    assert path.is_dir()
