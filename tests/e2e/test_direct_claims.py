"""Claims on the cluster's own classes: used as they are where a VM can, else refused with the way out."""

import pytest

from kubelet_bridge.devcluster.storageclasses import LOCAL, REPLICATED
from kubelet_bridge.model.resources import DATAVOLUMES, EVENTS, PERSISTENTVOLUMECLAIMS, PODS, STORAGECLASSES
from kubelet_bridge.model.storagenames import PROVISIONER
from tests.support.bridge import Bridge, Json, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


async def pod_with_claim(world: World, name: str, storage_class: str, access_mode: str) -> None:
    await world.create(PERSISTENTVOLUMECLAIMS, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {
            "storageClassName": storage_class, "accessModes": [access_mode],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    })  # fmt: skip
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": name}}]
    await world.create(PODS, world.pod(name, volumes=volumes))


async def told(world: World, name: str) -> list[Json]:
    return [one for one in await world.find(EVENTS) if one["involvedObject"]["name"] == name]


async def test_a_bound_claim_is_the_vms_disk(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await pod_with_claim(world, "shared", REPLICATED, "ReadWriteMany")
    await world.ready("shared", seconds=120)
    (vm,) = await world.vms()
    names = [one.get("persistentVolumeClaim") for one in vm["spec"]["template"]["spec"]["volumes"]]
    assert {"claimName": "shared"} in names


async def test_a_claim_for_one_pod_is_refused_with_the_way_out(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await pod_with_claim(world, "single", REPLICATED, "ReadWriteOncePod")

    async def refused() -> bool:
        return any("ReadWriteOncePod" in one["message"] for one in await told(world, "single"))

    await eventually(refused, lambda: f"an event; {bridge.tail()}")
    assert not await world.vms()


async def test_disks_of_ours_on_storage_that_waits_for_a_consumer(world: World, bridge: Bridge) -> None:
    await bridge.start()
    name = f"{world.namespace}-local"
    await world.client.create(STORAGECLASSES, None, {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer", "parameters": {"backingClass": LOCAL},
    })  # fmt: skip
    try:
        await pod_with_claim(world, "local", name, "ReadWriteOnce")
        pinned = await world.ready("local", seconds=120)
        (disk,) = await world.find(DATAVOLUMES)
        assert disk["status"]["phase"] == "Succeeded"
        said = {one["type"]: one["status"] for one in pinned["status"]["conditions"]}
        assert said["kubelet-bridge.io/PinnedToNode"] == "True"
    finally:
        await world.client.delete(STORAGECLASSES, None, name)
