"""What becomes of disks while the bridge is down, with its database or without: nothing is lost, made twice or left."""

import asyncio

import pytest

from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import DATAVOLUMES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.support.bridge import Bridge, Json, World, decoded, eventually
from tests.support.disks import Disks, digest, forget_database, rows

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(240)]

KEPT, DELETED, ORPHAN, HOLLOW, DOOMED, RETAINED = "kept", "deleted", "orphan", "hollow", "doomed", "retained"


@pytest.mark.parametrize("remembers", [True, False], ids=["with its database", "without its database"])
async def test_the_bridge_is_down(world: World, bridge: Bridge, disks: Disks, *, remembers: bool) -> None:
    of, retaining = await disks.storage_class(), await disks.storage_class("retain", reclaimPolicy="Retain")
    names = (KEPT, DELETED, ORPHAN, HOLLOW, DOOMED, RETAINED)
    await bridge.start()
    for name in names:
        await disks.claim(name, retaining if name == RETAINED else of)
    await disks.bound(*names)
    await disks.filled(*names)
    written = await disks.write(*names)
    uids = await disks.uids()
    retained = await disks.datavolume(RETAINED)
    file = await disks.file(RETAINED)
    await eventually(lambda: _all_met(disks), "every disk as the bridge wants it")
    await bridge.kill()

    await disks.delete(DELETED, RETAINED)
    await disks.grow(KEPT, "32Mi")
    await disks.claim("new", of)
    orphaned, hollow = await disks.datavolume(ORPHAN), await disks.datavolume(HOLLOW)
    await world.client.delete(DATAVOLUMES, world.namespace, orphaned["metadata"]["name"])
    await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, hollow["metadata"]["name"])
    await world.client.delete(PERSISTENTVOLUMES, None, (await _volume_of(disks, DOOMED))["metadata"]["name"])
    if not remembers:
        await asyncio.to_thread(forget_database, bridge)
    await bridge.start()

    await disks.says(ORPHAN, "VolumeLost", "deleted by somebody else")
    await disks.says(HOLLOW, "VolumeLost", "deleted by somebody else")
    await disks.grown(KEPT, "32Mi")
    await disks.bound(KEPT, ORPHAN, HOLLOW, DOOMED, "new")
    await disks.filled("new")
    assert DELETED not in [disks.claim_of(one) for one in await _settled(disks, DELETED)]
    assert ORPHAN not in [disks.claim_of(one) for one in await disks.datavolumes()]
    for name in (KEPT, DOOMED):
        assert await disks.digest(name) == written[name]
        assert (await disks.uids())[name] == uids[name]

    assert await _used_again(disks, retained, retaining) == RETAINED
    assert await asyncio.to_thread(digest, file) == written[RETAINED]
    await disks.delete(KEPT, ORPHAN, HOLLOW, DOOMED, "new", "again")
    await _kept_on_its_own(disks, retained)
    assert await asyncio.to_thread(digest, file) == written[RETAINED]
    await world.client.delete(DATAVOLUMES, world.namespace, retained["metadata"]["name"])
    await disks.nothing_left()


async def _all_met(disks: Disks) -> bool:
    """Every disk has a row: there is nothing more for a crash to interrupt."""
    found = await asyncio.to_thread(rows, disks.world.bridge.state_dir)
    return len(found) == len(await disks.ours())


async def _volume_of(disks: Disks, claim: str) -> Json:
    (found,) = [one for one in await disks.ours() if one["spec"]["claimRef"]["name"] == claim]
    return found


async def _settled(disks: Disks, claim: str) -> list[Json]:
    """The DataVolumes, once the disk of ``claim`` and what stood for it are gone."""

    async def gone() -> bool:
        names = [one["spec"].get("claimRef", {}).get("name") for one in await disks.ours()]
        return claim not in names and claim not in [disks.claim_of(one) for one in await disks.datavolumes()]

    await eventually(gone, lambda: f"disk of {claim} gone; {disks.world.bridge.tail()}")
    return await disks.datavolumes()


async def _used_again(disks: Disks, datavolume: Json, of: str) -> str:
    """Free the Released volume of a disk that was kept, and let a claim ``again`` have it; whose disk that is."""
    client = disks.client

    async def released() -> Json | None:
        found = await _volume_of(disks, RETAINED)
        return found if found["status"]["phase"] == "Released" else None

    volume = await eventually(released, "the volume Released")
    free = {"spec": {"claimRef": None}}
    await client.patch(PERSISTENTVOLUMES, None, volume["metadata"]["name"], free, kind=PatchType.MERGE)
    await disks.claim("again", of, volumeName=volume["metadata"]["name"])
    await disks.bound("again")
    found = decoded(await client.get(PERSISTENTVOLUMES, None, volume["metadata"]["name"]))
    assert found["metadata"]["uid"] == volume["metadata"]["uid"]
    assert found["spec"]["csi"]["volumeHandle"].endswith("/" + datavolume["metadata"]["name"])
    again = decoded(await client.get(DATAVOLUMES, disks.world.namespace, datavolume["metadata"]["name"]))
    assert again["metadata"]["uid"] == datavolume["metadata"]["uid"]
    return disks.claim_of(again)


async def _kept_on_its_own(disks: Disks, datavolume: Json) -> None:
    """Its PersistentVolume deleted by hand, the disk to be kept is all that is left."""

    async def released() -> Json | None:
        left = await disks.ours()
        return left[0] if len(left) == 1 and left[0]["status"]["phase"] == "Released" else None

    volume = await eventually(released, lambda: f"one Released volume left; {disks.world.bridge.tail()}")
    await disks.client.delete(PERSISTENTVOLUMES, None, volume["metadata"]["name"])

    async def alone() -> bool:
        left = [*await disks.ours(), *await asyncio.to_thread(rows, disks.world.bridge.state_dir)]
        return not left

    await eventually(alone, lambda: f"no volume and no row left; {disks.world.bridge.tail()}")
    assert [one["metadata"]["uid"] for one in await disks.datavolumes()] == [datavolume["metadata"]["uid"]]
