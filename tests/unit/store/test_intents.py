"""The intent store: what it shows, what it remembers, what it forgets."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.errors import Terminal, Transient
from kubelet_bridge.model.intent import Intent, IntentStatus, Termination
from kubelet_bridge.store.actions import ActionQueue, ActionState
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.intents import KEEP, IntentStore
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent, later
from tests.support.store import only_pages, slowly


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with standalone(tmp_path) as opened:
        yield opened


@pytest.fixture
async def store(database: Database) -> IntentStore:
    return await IntentStore.load(database)


def but(one: Intent, **changes: Any) -> Intent:
    return msgspec.structs.replace(one, **changes)


async def test_what_is_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        await store.save(intent(), reason="Accepted", now=NOW)
        await store.save(but(intent(), restart_count=3), reason="Observed", now=later(1))
        assert store.get("uid-1") == but(intent(), restart_count=3)
    async with standalone(tmp_path) as database:
        assert (await IntentStore.load(database)).live() == [but(intent(), restart_count=3)]


async def test_saving_the_same_again_writes_nothing(tmp_path: Path) -> None:
    transactions: list[str] = []
    async with standalone(tmp_path, observe=lambda name, _, __: transactions.append(name)) as database:
        store = await IntentStore.load(database)
        for second in range(5):
            await store.save(intent(), reason="Accepted", now=later(second))
    assert transactions == ["intent.save"]


async def test_columns_are_readable_by_people(database: Database, store: IntentStore) -> None:
    await store.save(intent(outcome="Failed", outcome_reason="Evicted"), reason="Accepted", now=NOW)
    query = (
        "SELECT id, namespace, name, status, vm_name, cpu, memory, outcome, outcome_reason, accepted_at, destroyed_at"
        " FROM intents"
    )
    assert await database.read(query) == [
        ("dpl_00000001", "default", "web-1", "provisioning", "web-1", 2, 1 << 30, "Failed", "Evicted",
         "2026-03-04T05:06:07.000Z", None)
    ]  # fmt: skip


async def test_history_is_one_line_per_change_of_status(store: IntentStore) -> None:
    running = but(intent(), status=IntentStatus.RUNNING)
    await store.save(intent(), reason="Accepted", now=NOW)
    await store.save(but(intent(), vm_uid="vm-1"), reason="Observed", now=later(1))
    await store.save(running, reason="Observed", now=later(2))
    await store.destroy("uid-1", reason="PodGone", now=later(3))
    lines = [(one.from_status, one.to_status, one.reason, one.at) for one in await store.history("uid-1")]
    assert lines == [
        ("", "provisioning", "Accepted", NOW),
        ("provisioning", "running", "Observed", later(2)),
        ("running", "destroyed", "PodGone", later(3)),
    ]


async def test_boots_are_recorded_as_the_intent_changes(database: Database, store: IntentStore) -> None:
    crashed = Termination("vmi-1", 1, "Error", started_at=later(5), finished_at=later(60))
    for second, changes in (
        (1, {"vmi_uid": "vmi-1"}),
        (5, {"vmi_uid": "vmi-1", "vmi_started": True}),
        (60, {"vmi_uid": "vmi-1", "vmi_started": True, "termination": crashed}),
        (70, {"vmi_uid": "vmi-2", "restart_count": 1, "last_termination": crashed}),
    ):
        await store.save(intent(**changes), reason="Observed", now=later(second))
    rows = await database.read(
        "SELECT vmi_uid, started_at, finished_at, exit_code, reason FROM restarts ORDER BY rowid"
    )
    assert rows == [
        ("vmi-1", "2026-03-04T05:06:12.000Z", "2026-03-04T05:07:07.000Z", 1, "Error"),
        ("vmi-2", None, None, None, ""),
    ]


async def test_the_destroyed_are_gone_from_sight_and_kept_for_30_days(database: Database, store: IntentStore) -> None:
    await store.save(intent(1), reason="Accepted", now=NOW)
    await store.save(intent(2), reason="Accepted", now=NOW)
    await store.destroy("uid-1", reason="PodGone", now=later(1))
    await store.destroy("never seen", reason="PodGone", now=later(1))
    assert store.get("uid-1") is None
    assert store.live() == [intent(2)]
    await store.prune(later(1) + KEEP)
    assert len(await database.read("SELECT uid FROM intents")) == 2
    assert await store.prune(later(1) + KEEP + timedelta(seconds=1)) > 0
    assert await database.read("SELECT uid FROM intents") == [("uid-2",)]
    assert await store.history("uid-1") == []


async def test_tombstones_are_not_read_back(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        await store.save(intent(), reason="Accepted", now=NOW)
        await store.destroy("uid-1", reason="PodGone", now=NOW)
    async with standalone(tmp_path) as database:
        assert (await IntentStore.load(database)).live() == []


async def test_a_failed_save_leaves_the_former_intent(database: Database, store: IntentStore) -> None:
    await store.save(intent(), reason="Accepted", now=NOW)
    await only_pages(database, 1)
    large = but(intent(), outcome_message="x" * 500_000)
    with pytest.raises(Transient):
        await store.save(large, reason="Observed", now=NOW)
    assert store.get("uid-1") == intent()
    await only_pages(database, 100_000)
    await store.save(large, reason="Observed", now=NOW)
    assert store.get("uid-1") == large


async def test_a_cancelled_save_shows_once_it_is_on_disk(database: Database, store: IntentStore) -> None:
    await slowly(database, seconds=0.1)
    await store.save(intent(), reason="Accepted", now=NOW)
    queue = ActionQueue(database)
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.enqueue("uid-1", "reboot", nonce="1", now=NOW))
        await asyncio.sleep(0.02)
        doomed = group.create_task(store.save(but(intent(), vm_uid="vm-1"), reason="Observed", now=NOW))
        await asyncio.sleep(0.02)
        doomed.cancel()
    assert store.get("uid-1") == intent()
    await store.save(intent(2), reason="Accepted", now=NOW)
    assert store.get("uid-1") == but(intent(), vm_uid="vm-1")


async def test_going_back_while_a_save_is_pending_is_a_save(store: IntentStore) -> None:
    await store.save(intent(), reason="Accepted", now=NOW)
    async with asyncio.TaskGroup() as group:
        group.create_task(store.save(but(intent(), vm_uid="vm-1"), reason="Observed", now=NOW))
        group.create_task(store.save(intent(), reason="Observed", now=NOW))
    assert store.get("uid-1") == intent()


async def test_ids_are_readable_and_never_given_twice(store: IntentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"dpl_[0-9a-z]{8}", store.new_id())
    assert store.new_id("vol").startswith("vol_")
    await store.save(intent(id="dpl_aaaaaaaa"), reason="Accepted", now=NOW)
    await store.destroy("uid-1", reason="PodGone", now=NOW)
    digits = iter("a" * 8 + "b" * 8)
    monkeypatch.setattr("secrets.choice", lambda _: next(digits))
    assert store.new_id() == "dpl_bbbbbbbb"


async def test_two_pods_of_one_name_are_two_intents(store: IntentStore) -> None:
    first, second = intent(1, name="web-0"), intent(2, name="web-0")
    await store.save(first, reason="Accepted", now=NOW)
    await store.save(second, reason="Accepted", now=NOW)
    await store.destroy(first.uid, reason="PodGone", now=NOW)
    assert store.live() == [second]


async def test_adopting_takes_only_what_is_unknown(store: IntentStore) -> None:
    await store.save(intent(1, restart_count=5), reason="Accepted", now=NOW)
    assert await store.adopt([intent(1), intent(2)], now=NOW) == 1
    assert store.live() == [intent(1, restart_count=5), intent(2)]
    assert await store.adopt([], now=NOW) == 0


async def test_actions_happen_once_and_in_order(database: Database, store: IntentStore) -> None:
    queue = ActionQueue(database)
    await store.save(intent(), reason="Accepted", now=NOW)
    assert await queue.enqueue("uid-1", "reboot", nonce="a", now=NOW)
    assert await queue.enqueue("uid-1", "snapshot", nonce="b", now=later(1))
    assert not await queue.enqueue("uid-1", "reboot", nonce="a", now=later(2))
    assert [(one.action, one.requested_at) for one in await queue.pending("uid-1")] == [
        ("reboot", NOW), ("snapshot", later(1)),
    ]  # fmt: skip
    await queue.finish("uid-1", nonce="a", state=ActionState.DONE, result="ok", now=later(3))
    await queue.finish("uid-1", nonce="a", state=ActionState.FAILED, result="too late", now=later(4))
    assert not await queue.enqueue("uid-1", "reboot", nonce="a", now=later(5))
    await store.destroy("uid-1", reason="PodGone", now=later(6))
    assert await queue.pending("uid-1") == []
    states = await database.read("SELECT nonce, state, result FROM actions ORDER BY nonce")
    assert states == [("a", "done", "ok"), ("b", "dropped", "")]


async def test_an_action_outlives_the_history_around_it(database: Database, store: IntentStore) -> None:
    queue = ActionQueue(database)
    await store.save(intent(), reason="Accepted", now=NOW)
    await queue.enqueue("uid-1", "reboot", nonce="a", now=NOW)
    await queue.finish("uid-1", nonce="a", state=ActionState.DONE, result="", now=NOW)
    await store.prune(NOW + 2 * KEEP)
    assert await store.history("uid-1") == []
    assert not await queue.enqueue("uid-1", "reboot", nonce="a", now=NOW + 2 * KEEP)


async def test_an_action_needs_an_intent(database: Database) -> None:
    with pytest.raises(Terminal, match="FOREIGN KEY"):
        await ActionQueue(database).enqueue("nobody", "reboot", nonce="a", now=NOW)


async def test_machines_are_found_by_their_pod_as_long_as_they_live(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        for number in (1, 2):
            await store.save(intent(number, pod_uid="pod", container=f"c{number}"), reason="Accepted", now=NOW)
        await store.save(intent(3), reason="Accepted", now=NOW)
        await store.destroy("uid-1", reason="PodGone", now=NOW)
        assert [one.uid for one in store.machines("pod")] == ["uid-2"]
    async with standalone(tmp_path) as database:
        store = await IntentStore.load(database)
        assert [one.uid for one in store.machines("pod")] == ["uid-2"]
        await store.destroy("uid-2", reason="PodGone", now=NOW)
        assert store.machines("pod") == []
