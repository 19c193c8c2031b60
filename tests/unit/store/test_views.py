"""The database read beside the process that writes it."""

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.intent import IntentStatus, Termination
from kubelet_bridge.store import views
from kubelet_bridge.store.actions import ActionQueue
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent, later


async def _fill(store: IntentStore) -> None:
    ended = Termination("vmi-1", 137, "Error", finished_at=later(9))
    await store.save(intent(1), reason="Accepted", now=NOW)
    await store.save(
        intent(1, status=IntentStatus.RUNNING, vmi_uid="vmi-2", last_termination=ended),
        reason="Observed",
        now=later(10),
    )
    await store.save(intent(2), reason="Accepted", now=NOW)
    await store.destroy("uid-2", reason="PodGone", now=later(20))


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        await _fill(store)
        await ActionQueue(database).enqueue("uid-1", "reboot", nonce="n1", now=later(30))
    return tmp_path


async def test_what_a_running_daemon_has_committed_is_seen_at_once(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        await _fill(store)
        assert [one.id for one in await asyncio.to_thread(views.list_intents, tmp_path)] == ["dpl_00000001"]
        await store.save(intent(3), reason="Accepted", now=NOW)
        assert len(await asyncio.to_thread(views.list_intents, tmp_path)) == 2


def test_the_list_hides_the_destroyed_until_asked(directory: Path) -> None:
    assert [one.name for one in views.list_intents(directory)] == ["web-1"]
    both = views.list_intents(directory, destroyed=True)
    assert [(one.name, one.status, one.destroyed_at) for one in both] == [
        ("web-1", "running", None), ("web-2", "destroyed", later(20)),
    ]  # fmt: skip


@pytest.mark.parametrize("wanted", ["dpl_00000001", "uid-1", "default/web-1"])
def test_one_is_found_by_any_of_its_names(directory: Path, wanted: str) -> None:
    found = views.show(directory, wanted)
    assert found.summary.uid == "uid-1"
    assert [one.reason for one in found.history] == ["Accepted", "Observed"]
    assert {(one.vmi_uid, one.exit_code) for one in found.restarts} == {("vmi-1", 137), ("vmi-2", None)}
    assert [one.action for one in found.actions] == ["reboot"]
    assert msgspec.json.decode(found.intent)["vm_name"] == "web-1"


def test_a_tombstone_is_found_too(directory: Path) -> None:
    assert views.show(directory, "default/web-2").summary.destroyed_at == later(20)


def test_an_unknown_one_is_answered_with_the_nearest(directory: Path) -> None:
    with pytest.raises(Terminal, match=r"no intent 'default/wbe-1'; the nearest is 'default/web-1'$"):
        views.show(directory, "default/wbe-1")
    with pytest.raises(Terminal, match=r"^no intent 'zzzzzz'$"):
        views.show(directory, "zzzzzz")


def test_looking_changes_nothing(directory: Path) -> None:
    before = {file.name: file.read_bytes() for file in directory.iterdir() if not file.name.endswith("-shm")}
    views.list_intents(directory)
    views.show(directory, "uid-1")
    after = {file.name: file.read_bytes() for file in directory.iterdir() if not file.name.endswith("-shm")}
    assert {name: content for name, content in after.items() if content} == {k: v for k, v in before.items() if v}


def test_no_database_and_no_sense_are_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="no intent store in"):
        views.list_intents(tmp_path)
    (tmp_path / "intents.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(Terminal, match="cannot be read: file is not a database"):
        views.list_intents(tmp_path)


def test_a_newer_database_is_not_guessed_at(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "intents.db") as newer:
        newer.execute("PRAGMA user_version = 77")
    newer.close()
    with pytest.raises(Terminal, match="schema version 77"):
        views.show(tmp_path, "uid-1")
