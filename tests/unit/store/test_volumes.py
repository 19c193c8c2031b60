"""The disks promised to claims, over restarts and the loss of the file."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.model.meta import LABEL_NODE
from kubelet_bridge.model.storage import PersistentVolume, ReclaimPolicy
from kubelet_bridge.model.volumeintent import Promise, VolumeIntent, VolumeStatus
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone
from kubelet_bridge.store.volumerebuild import rebuild_volumes
from kubelet_bridge.store.volumes import KEEP, VolumeStore
from kubelet_bridge.translate.storage import persistentvolume
from tests.support.intents import NOW, intent
from tests.support.store import only_pages
from tests.support.volumes import NODE, volume


def disk(number: int = 1, **fields: object) -> VolumeIntent:
    promise = Promise(
        size="20Gi", access_modes=["ReadWriteOnce"], volume_mode="Filesystem", storage_class="vm-disk",
        reclaim=ReclaimPolicy.DELETE, source="blank", population={"source": {"blank": {}}},
    )  # fmt: skip
    made = VolumeIntent(
        uid=f"uid-{number}", id=f"vol_{number:08d}", namespace="shop", name=f"data-{number}", promise=promise,
        datavolume=f"data-{number}-{number:08x}", datavolume_uid=f"dv-{number}", accepted_at=NOW,
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


async def test_rows_and_their_history_outlive_a_restart(tmp_path: Path) -> None:
    bound = disk(1, status=VolumeStatus.BOUND)
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        await store.save(disk(1), reason="Accepted", now=NOW)
        await store.save(bound, reason="Bound", now=NOW)
        await store.save(disk(2), reason="Accepted", now=NOW)
        await store.destroy("uid-2", reason="Deleted", now=NOW)
        await store.destroy("never-was", reason="Deleted", now=NOW)
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        assert store.live() == [bound]
        assert [one.reason for one in await store.history("uid-1")] == ["Accepted", "Bound"]
        assert [one.to_status for one in await store.history("uid-2")] == ["provisioning", "destroyed"]


async def test_tombstones_are_forgotten_in_time(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        await store.save(disk(1), reason="Accepted", now=NOW)
        await store.destroy("uid-1", reason="Deleted", now=NOW)
        assert await store.prune(NOW + KEEP) == 0
        assert await store.prune(NOW + KEEP + KEEP) > 0
        assert await store.history("uid-1") == []


async def test_where_nothing_is_old_nothing_is_written(tmp_path: Path) -> None:
    batches: list[str] = []
    async with standalone(tmp_path, observe=lambda name, _seconds, _rows: batches.append(name)) as database:
        store = await VolumeStore.load(database)
        await store.save(disk(1), reason="Accepted", now=NOW)
        batches.clear()
        assert await store.prune(NOW + KEEP) == 0
        assert batches == []
        assert await store.prune(NOW + KEEP + KEEP) > 0
        assert batches != []


async def test_a_lost_file_gets_disks_back_beside_intents(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        intents, volumes = await IntentStore.load(database), await VolumeStore.load(database)
        await intents.save(intent(1), reason="Accepted", now=NOW)
        await volumes.save(disk(1), reason="Accepted", now=NOW)
        await asyncio.to_thread(database.path.unlink)
        await volumes.save(disk(2), reason="Accepted", now=NOW)
    async with standalone(tmp_path) as database:
        assert (await IntentStore.load(database)).live() == [intent(1)]
        assert (await VolumeStore.load(database)).live() == [disk(1), disk(2)]


async def test_what_is_not_on_disk_does_not_show(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        await store.save(disk(1), reason="Accepted", now=NOW)
        await only_pages(database, 1)
        with pytest.raises(Transient):
            await store.save(disk(2, lost="x" * 1_000_000), reason="Accepted", now=NOW)
        assert store.live() == [disk(1)]


async def test_a_row_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        await store.save(disk(1), reason="Accepted", now=NOW)
        await store.save(disk(2), reason="Accepted", now=NOW)
        await database.commit(Change("test", (("UPDATE volumes SET data = '{' WHERE uid = 'uid-1'", ()),)))
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        assert (store.live(), store.unreadable) == ([disk(2)], ["uid-1"])


def found(row: VolumeIntent, **changes: object) -> PersistentVolume:
    made = persistentvolume.build(row, NODE)
    made["metadata"]["labels"] |= changes
    return volume(made)


def test_a_disk_is_known_again_by_its_volume() -> None:
    (again,) = rebuild_volumes([found(disk())], NODE, new_id=lambda: "vol_new")
    known = msgspec.structs.replace(again, promise=disk().promise, accepted_at=NOW)
    assert known == disk(status=VolumeStatus.BOUND)
    assert (again.promise.size, again.promise.reclaim) == ("20Gi", ReclaimPolicy.DELETE)


def test_another_bridges_disks_are_its_own() -> None:
    assert rebuild_volumes([found(disk(), **{LABEL_NODE: "another"})], NODE, new_id=lambda: "vol_new") == []


def test_a_volume_made_by_hand_stands_for_no_disk() -> None:
    made = persistentvolume.build(disk(), NODE)
    made["spec"]["csi"]["volumeHandle"] = "data"
    assert rebuild_volumes([volume(made)], NODE, new_id=lambda: "vol_new") == []


async def test_two_disks_do_not_share_an_id(tmp_path: Path) -> None:
    async with standalone(tmp_path) as database:
        store = await VolumeStore.load(database)
        assert await store.adopt([disk(1), disk(2, id="vol_00000001")], now=NOW) == 2
        assert await store.adopt([disk(1)], now=NOW) == 0
        assert len({one.id for one in store.live()}) == 2
