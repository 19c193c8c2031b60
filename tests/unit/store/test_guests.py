"""What is remembered of guests, over restarts and the loss of the file."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.model.guest import GuestContainer, GuestFacts, GuestReport
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent
from tests.support.store import only_pages


def guest(uid: str, number: int = 1) -> GuestRecord:
    return GuestRecord(
        uid=uid, namespace="default", name=uid, session_hash="ab" * 32, used_boot="vmi-1",
        facts=GuestFacts(agent_version="1", os_pretty_name="Debian"),
        report=GuestReport(number=number, boot="vmi-1", containers=[GuestContainer(name="app", ready=True)]),
        seen_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip


async def test_records_outlive_a_restart(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await GuestStore.load(database)
        await store.save(guest("one"))
        await store.save(guest("two"))
        await store.save(guest("two", number=7))
        await store.delete("one")
        await store.delete("never-was")
    async with standalone(tmp_path) as database:
        store = await GuestStore.load(database)
        assert store.all() == [guest("two", number=7)]
        assert store.get("one") is None


async def test_a_lost_file_gets_guests_and_intents_back(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        intents, guests = await IntentStore.load(database), await GuestStore.load(database)
        await intents.save(intent(1), reason="Accepted", now=NOW)
        await guests.save(guest("one"))
        await asyncio.to_thread(database.path.unlink)
        await guests.save(guest("two"))
    async with standalone(tmp_path) as database:
        assert (await IntentStore.load(database)).live() == [intent(1)]
        assert (await GuestStore.load(database)).all() == [guest("one"), guest("two")]


async def test_what_is_not_on_disk_does_not_show(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await GuestStore.load(database)
        await store.save(guest("one"))
        await only_pages(database, 1)
        large = msgspec.structs.replace(guest("one"), name="x" * 500_000)
        with pytest.raises(Transient):
            await store.save(large)
        assert store.get("one") == store.latest("one") == guest("one")


async def test_a_cancelled_save_counts_when_it_was_written(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await GuestStore.load(database)
        saving = asyncio.get_running_loop().create_task(store.save(guest("one")))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])
        assert store.latest("one") == guest("one")
        await store.save(guest("two"))
        assert store.get("one") == guest("one")


async def test_a_row_that_cannot_be_read_is_left_out_and_can_be_removed(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        await (await GuestStore.load(database)).save(guest("one"))
        await database.commit(Change("spoil", (("UPDATE guests SET data = '{'", ()),)))
        store = await GuestStore.load(database)
        assert (store.all(), store.unreadable) == ([], ["one"])
        await store.delete("one")
        assert await database.read("SELECT count(*) FROM guests") == [(0,)]
