"""Virtual machines of ours in other hands: their marks removed, their instances deleted, while their Pods go on."""

from typing import Any

import pytest

from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, LABEL_NODE, LABEL_POD_NAME, LABEL_POD_UID
from kubelet_bridge.model.resources import PODS, VIRTUALMACHINEINSTANCES, VIRTUALMACHINES
from tests.support.bridge import Bridge, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

Json = dict[str, Any]
LABELS = (LABEL_MANAGED_BY, LABEL_NODE, LABEL_POD_NAME, LABEL_POD_UID)


def without(*labels: str) -> Json:
    return {"metadata": {"labels": dict.fromkeys(labels)}}


LOST: dict[str, Json] = {
    "pod-uid": without(LABEL_POD_UID),
    "node": without(LABEL_NODE),
    "labels": without(*LABELS),
    "annotations": {"metadata": {"annotations": None}},
    "owner": {"metadata": {"ownerReferences": None}},
}


def marks(vm: Json) -> Json:
    metadata = vm["metadata"]
    return {name: metadata.get(name) for name in ("labels", "annotations", "ownerReferences")}


async def test_a_vm_whose_marks_were_removed_is_marked_again_and_has_no_double(world: World, bridge: Bridge) -> None:
    await bridge.start()
    for name in LOST:
        await world.create(PODS, world.pod(name, restartPolicy="Never" if name == "node" else "Always"))
    for name in LOST:
        await world.ready(name)
    before = {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()}
    had = {vm["metadata"]["name"]: marks(vm) for vm in await world.vms()}
    for name, patch in LOST.items():
        await world.client.patch(VIRTUALMACHINES, world.namespace, name, patch, kind=PatchType.MERGE)

    async def healed() -> bool:
        return {vm["metadata"]["name"]: marks(vm) for vm in await world.vms()} == had

    await eventually(healed, f"the marks are back; {bridge.tail()}")
    assert {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()} == before
    for name in LOST:
        pod = await world.ready(name)
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    await world.settled()


async def test_a_vm_whose_marks_were_removed_goes_with_its_pod(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    await bridge.kill()
    await world.client.patch(VIRTUALMACHINES, world.namespace, "one", without(*LABELS), kind=PatchType.MERGE)
    await world.client.delete(PODS, world.namespace, "one")
    await bridge.start()
    await world.gone(PODS, "one")
    await world.gone(VIRTUALMACHINES, "one")


async def test_an_instance_deleted_by_hand_is_a_restart_and_one_that_never_ran_is_none(
    world: World, bridge: Bridge
) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("ran"))
    await world.create(PODS, world.pod("never", container={"image": "fault.test/pull-error:1"}))
    await world.ready("ran")

    async def waiting() -> bool:
        return await world.get(VIRTUALMACHINEINSTANCES, "never") is not None

    await eventually(waiting, "an instance that cannot start")
    await world.client.delete(VIRTUALMACHINEINSTANCES, world.namespace, "ran")
    image = {"spec": {"containers": [{"name": "vm", "image": "example.test/disk:2"}]}}
    await world.client.patch(PODS, world.namespace, "never", image, kind=PatchType.STRATEGIC)

    async def counts() -> bool:
        pods = [await world.get(PODS, name) for name in ("ran", "never")]
        found = [pod["status"]["containerStatuses"][0] for pod in pods if pod is not None]
        return [(one["restartCount"], one["ready"]) for one in found] == [(1, True), (0, True)]

    await eventually(counts, f"one restart, and none; {bridge.tail()}")
    await world.settled()
