"""What goes wrong while a disk is made: the claim and its Pod say what, and when the cause is mended it goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.devhost.faultapi import FaultClient, socket_path
from kubelet_bridge.devcluster.devhost.faults import Fault, FaultKind
from kubelet_bridge.model.resources import PODS, Resource
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE_CHECKSUM
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.disks import MIB, Disks
from tests.support.imageserver import ImageServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
RESOURCEQUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
_IMAGE = b"disk" + bytes(4 * MIB)


def using(world: World, claim: str) -> Json:
    return world.pod(f"with-{claim}", volumes=[{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}])


async def waits(world: World, claim: str, *words: str) -> None:
    """Until the Pod that has ``claim`` says that it waits, in all of these words."""
    said: list[str] = []

    async def check() -> bool:
        pod = await world.get(PODS, f"with-{claim}")
        assert pod is not None
        states = [one["state"].get("waiting", {}) for one in pod["status"].get("containerStatuses", [])]
        said[:] = [str(one) for one in pod["status"].get("containerStatuses", [])]
        return any(all(word in one.get("message", "") for word in words) for one in states)

    await eventually(check, lambda: f"with-{claim} says {words}; says {said}; {world.bridge.tail()}")


async def ready(world: World, *claims: str) -> None:
    for claim in claims:
        await world.ready(f"with-{claim}", seconds=90)


async def test_a_source_that_does_not_give_what_it_should(
    world: World, bridge: Bridge, disks: Disks, images: ImageServer
) -> None:
    of = await disks.storage_class()
    images.images |= {"slow": _IMAGE, "other": _IMAGE, "large": bytes(64 * MIB)}
    images.flowing.clear()
    await bridge.start()
    for name in ("missing", "slow"):
        await disks.claim(name, of, source=images.url(name))
        await world.create(PODS, using(world, name))
    await disks.says("missing", "DataVolumeTrouble", "got 404")
    await waits(world, "missing", "got 404", "DataVolume missing-")
    await waits(world, "slow", "DataVolume slow-", "ImportInProgress", "%")
    images.images["missing"] = _IMAGE
    images.flowing.set()
    await disks.claim(
        "other", of, source=images.url("other"), annotations={ANNOTATION_SOURCE_CHECKSUM: f"sha256:{'0' * 64}"}
    )
    await disks.claim("large", of, source=images.url("large"))
    for name in ("other", "large"):
        await world.create(PODS, using(world, name))
    await disks.says("other", "DataVolumeTrouble", "checksum mismatch")
    await waits(world, "other", "checksum mismatch")
    # "DataVolume too small to contain image", or what the importer said: "Virtual image size … is larger than …".
    await disks.says("large", "DataVolumeTrouble", " image")
    await waits(world, "large", " image")
    images.images["large"] = _IMAGE
    await ready(world, "missing", "slow", "large")
    await waits(world, "other", "checksum mismatch")
    assert images.asked["other"] == 1, "what came is not what was named, and was not asked for again"


async def test_storage_that_refuses_and_then_does_not(
    world: World, bridge: Bridge, disks: Disks, dev_cluster: DevCluster
) -> None:
    real, missing = f"real-{world.namespace}", f"missing-{world.namespace}"
    await disks.real_class(real)
    of = await disks.storage_class("full", backing=real)
    classless = await disks.storage_class("classless", backing=missing)
    await world.create(RESOURCEQUOTAS, _quota("claims", f"{real}.storageclass.storage.k8s.io/persistentvolumeclaims"))
    await bridge.start()
    async with _refusing(dev_cluster, f"{world.namespace}/refused-*"):
        await disks.claim("classless", classless)
        await disks.claim("over", of)
        await disks.claim("refused", await disks.storage_class())
        for name in ("over", "refused"):
            await world.create(PODS, using(world, name))
        await disks.says("classless", "ProvisioningFailed", missing)
        await disks.says("over", "DataVolumeTrouble", "exceeded quota")
        await waits(world, "over", "exceeded quota")
        await disks.says("refused", "DataVolumeTrouble", "the storage refuses")
        await waits(world, "refused", "DataVolume refused-", "the storage refuses")
        await world.create(RESOURCEQUOTAS, _quota("datavolumes", "count/datavolumes.cdi.kubevirt.io"))
        await disks.claim("last", await disks.storage_class("last"))
        await disks.says("last", "ProvisioningFailed", "exceeded quota: datavolumes")
    for quota in ("claims", "datavolumes"):
        await world.client.delete(RESOURCEQUOTAS, world.namespace, quota)
    await disks.real_class(missing)
    await disks.bound("classless", "over", "refused", "last")
    await ready(world, "over", "refused")
    await disks.filled("classless", "last")
    await disks.one_each("classless", "over", "refused", "last")


def _quota(name: str, of: str) -> Json:
    """None of it, or no more than there is."""
    return {
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": {of: "0"}},
    }  # fmt: skip


@asynccontextmanager
async def _refusing(cluster: DevCluster, target: str) -> AsyncIterator[None]:
    """The dev host provisions nothing for ``target`` meanwhile."""
    async with FaultClient(socket_path(cluster.layout.run, "dev-host-0")) as client:
        fault = Fault(FaultKind.PROVISION_ERROR, target, id="refusing")
        await client.set(fault)
        try:
            yield
        finally:
            await client.clear(fault.id)


async def test_cdi_is_away_in_the_middle_of_an_import(
    world: World, bridge: Bridge, disks: Disks, images: ImageServer, dev_cluster: DevCluster
) -> None:
    of = await disks.storage_class()
    images.images["slow"] = _IMAGE
    images.flowing.clear()
    await bridge.start()
    await disks.claim("slow", of, source=images.url("slow"))
    await world.create(PODS, using(world, "slow"))
    await waits(world, "slow", "ImportInProgress", "%")
    before = await disks.datavolume("slow")
    async with _without(dev_cluster, "cdi-controller"):
        await disks.claim("meanwhile", of)
        await disks.bound("meanwhile")
        await world.create(PODS, using(world, "meanwhile"))
        await waits(world, "meanwhile", "DataVolume meanwhile-", "not taken up by CDI yet")
        images.flowing.set()
        await disks.says("meanwhile", "DataVolumeTrouble", "is its controller running?")
        await waits(world, "slow", "DataVolume slow-", "ImportInProgress")
    await ready(world, "slow", "meanwhile")
    assert (await disks.datavolume("slow"))["metadata"]["uid"] == before["metadata"]["uid"]
    file = await disks.file("slow")
    assert (await asyncio.to_thread(file.read_bytes)).startswith(_IMAGE)

    async with _without(dev_cluster, "cdi-apiserver"):
        await disks.claim("refused", of)
        await disks.says("refused", "ProvisioningFailed", "failed calling webhook")
    await disks.bound("refused")
    await disks.filled("refused")
    await disks.one_each("slow", "meanwhile", "refused")


@asynccontextmanager
async def _without(cluster: DevCluster, component: str) -> AsyncIterator[None]:
    await cluster.stop(component)
    try:
        yield
    finally:
        await cluster.start(component)
