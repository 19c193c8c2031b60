"""SIGKILL before and after every write of a disk's life, one restart after the other: one disk, with the same bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE, LABEL_PVC_UID
from tests.support.bridge import Bridge, World, eventually
from tests.support.disks import MIB, Disks
from tests.support.imageserver import ImageServer

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(240)]

MAKING = ("accept", "datavolume", "record", "volume", "record", "record")
"""What is recorded: the DataVolume's uid; then, in whatever order, that it is bound, has a real claim, is filled."""

GROWING = ("mark", "status", "grow-claim", "grow-volume", "status")
TAKING_DOWN = ("delete-datavolume", "delete-volume", "let-go", "forget")


async def _killed_around(disks: Disks, bridge: Bridge, *steps: str) -> None:
    """Run until just before each step, then until just after; no claim ever has two DataVolumes."""
    for step in steps:
        for side in ("before", "after"):
            await bridge.start(failpoints=f"volumes.{step}.{side}:1", ready=False)
            try:
                ended = await bridge.died()
            except TimeoutError:
                raise AssertionError(f"volumes.{step}.{side} was not reached: {bridge.tail()}") from None
            assert ended == -9
            names = [disks.claim_of(one) for one in await disks.datavolumes()]
            assert len(names) == len({*names}), f"after {step}.{side}: {names}"


async def test_disks_live_through_a_crash_at_every_write(
    world: World, bridge: Bridge, disks: Disks, images: ImageServer
) -> None:
    """Blank and imported, a device and a file in a file system: made, written, grown, deleted."""
    images.images["image"] = b"disk" + bytes(MIB)
    device = await disks.storage_class("device")
    file = await disks.storage_class("file", mode="Filesystem")
    await disks.claim("blank", device)
    await disks.claim("image", device, source=images.url("image"))
    await disks.claim("file", file)
    names = ("blank", "image", "file")
    await _killed_around(disks, bridge, *MAKING)
    await bridge.start()
    await disks.bound(*names)
    await disks.filled(*names)
    await disks.one_each(*names)
    uids, written = await disks.uids(), await disks.write(*names)
    await bridge.kill()

    (volume,) = [one for one in await disks.ours() if one["spec"]["claimRef"]["name"] == "blank"]
    unmarked = {"metadata": {"labels": {LABEL_PVC_UID: None}}}
    await world.client.patch(PERSISTENTVOLUMES, None, volume["metadata"]["name"], unmarked, kind=PatchType.MERGE)
    for name in names:
        await disks.grow(name, "32Mi")
    await _killed_around(disks, bridge, *GROWING)
    await bridge.start()
    for name in names:
        await disks.grown(name, "32Mi")
    await disks.one_each(*names)
    assert await disks.uids() == uids
    assert {name: await disks.digest(name) for name in names} == written
    await bridge.kill()

    files = [await disks.file(name) for name in names]
    await disks.delete(*names)
    await _killed_around(disks, bridge, *TAKING_DOWN)
    await bridge.start()
    await disks.nothing_left()
    assert not any([await asyncio.to_thread(one.exists) for one in files])


@pytest.fixture
async def second(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Bridge]:
    """Another bridge, with a node of its own."""
    one = Bridge(dev_cluster, admin, tmp_path / "second")
    one.directory.mkdir()
    try:
        yield one
    finally:
        await one.kill()
        with contextlib.suppress(NotFound):
            await admin.delete(NODES, None, one.node)


async def test_killed_while_a_claim_is_given_back_to_the_scheduler(
    world: World, bridge: Bridge, second: Bridge, disks: Disks
) -> None:
    """The backing class is missing: after some tries the node is no longer the selected one; and that heals."""
    missing = f"missing-{world.namespace}"
    of = await disks.storage_class("waits", backing=missing, volumeBindingMode="WaitForFirstConsumer")
    nodes = {"before": bridge, "after": second}
    for side, one in nodes.items():
        await disks.claim(side, of, annotations={ANNOTATION_SELECTED_NODE: one.node})

    async def given_back(side: str, one: Bridge) -> None:
        await one.start(failpoints=f"volumes.reschedule.{side}:1")
        assert await one.died(seconds=60) == -9
        await one.start()

        async def check() -> bool:
            found = await world.get(PERSISTENTVOLUMECLAIMS, side)
            assert found is not None
            return ANNOTATION_SELECTED_NODE not in found["metadata"]["annotations"]

        await eventually(check, lambda: f"{side}: no node selected; {one.tail()}")

    async with asyncio.TaskGroup() as group:
        for side, one in nodes.items():
            group.create_task(given_back(side, one))
    for side in nodes:
        await disks.says(side, "ProvisioningFailed", missing)
    assert await disks.ours() == []
    assert await disks.datavolumes() == []
    await disks.real_class(missing)
    for side, one in nodes.items():
        selected = {"metadata": {"annotations": {ANNOTATION_SELECTED_NODE: one.node}}}
        await world.client.patch(PERSISTENTVOLUMECLAIMS, world.namespace, side, selected, kind=PatchType.MERGE)
    await disks.bound(*nodes)
    await disks.one_each(*nodes)
    await disks.delete(*nodes)
    await disks.nothing_left()
