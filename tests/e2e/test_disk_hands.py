"""Somebody else deletes what stands behind a claim in use: its volume, its real claim, its namespace."""

import pytest

from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import NAMESPACES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from tests.support.bridge import Bridge, Json, World, decoded, eventually
from tests.support.disks import Disks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def using(world: World, claim: str, *, name: str = "") -> Json:
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}]
    return world.pod(name or f"with-{claim}", volumes=volumes)


async def test_a_volume_is_torn_away_and_a_real_claim_deleted(world: World, bridge: Bridge, disks: Disks) -> None:
    of = await disks.storage_class()
    await bridge.start()
    for name in ("torn", "hollow"):
        await disks.claim(name, of)
        await world.create(PODS, using(world, name))
    await disks.filled("torn", "hollow")
    for name in ("torn", "hollow"):
        await world.ready(f"with-{name}")
    written, uids = await disks.write("torn"), await disks.uids()
    hollow = (await disks.datavolume("hollow"))["metadata"]["name"]

    await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, hollow)
    await disks.says("hollow", "VolumeEndangered", hollow)
    before = await _tear_away(disks, "torn")
    after = await eventually(lambda: _stands(disks, "torn", before), lambda: f"the volume made again; {bridge.tail()}")
    assert after["spec"]["csi"] == before["spec"]["csi"]
    await disks.bound("torn")
    assert await disks.digest("torn") == written["torn"]
    assert (await disks.uids())["torn"] == uids["torn"]
    await world.ready("with-torn")

    await world.client.delete(PODS, world.namespace, "with-hollow")
    await disks.says("hollow", "VolumeLost", "deleted by somebody else")
    await world.create(PODS, using(world, "hollow", name="late"))

    async def says_so() -> bool:
        pod = await world.get(PODS, "late")
        states = [one["state"].get("waiting", {}) for one in (pod or {})["status"].get("containerStatuses", [])]
        return any("is lost" in one.get("message", "") for one in states)

    await eventually(says_so, lambda: f"the Pod says that its disk is lost; {bridge.tail()}")
    assert [vm["metadata"]["name"] for vm in await world.vms()] == ["with-torn"]


async def _tear_away(disks: Disks, claim: str) -> Json:
    """Delete the volume of ``claim`` by force; what it was."""
    (volume,) = [one for one in await disks.ours() if one["spec"]["claimRef"]["name"] == claim]
    name = volume["metadata"]["name"]
    await disks.client.delete(PERSISTENTVOLUMES, None, name)
    bare = {"metadata": {"finalizers": None}}
    await disks.client.patch(PERSISTENTVOLUMES, None, name, bare, kind=PatchType.MERGE)
    return volume


async def _stands(disks: Disks, claim: str, before: Json) -> Json | None:
    found = [one for one in await disks.ours() if one["spec"]["claimRef"]["name"] == claim]
    new = [one for one in found if one["metadata"]["uid"] != before["metadata"]["uid"]]
    return new[0] if new else None


async def test_a_namespace_goes_with_all_its_disks(world: World, bridge: Bridge, disks: Disks) -> None:
    of = await disks.storage_class()
    await bridge.start()
    for name in ("a", "b", "unused"):
        await disks.claim(name, of)
    for name in ("a", "b"):
        await world.create(PODS, using(world, name))
        await world.ready(f"with-{name}", seconds=90)
    await world.client.delete(NAMESPACES, None, world.namespace)
    await disks.nothing_left()

    async def gone() -> bool:
        found = decoded(await world.client.list(NAMESPACES))["items"]
        return world.namespace not in [one["metadata"]["name"] for one in found]

    await eventually(gone, lambda: f"the namespace gone; {bridge.tail()}", seconds=90)
