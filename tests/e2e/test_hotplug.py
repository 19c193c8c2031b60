"""Disks that come and go by annotation, on a real KubeVirt and CDI: what is listed, once, whoever dies meanwhile."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.bridge import VM_DISK
from kubelet_bridge.devcluster.storageclasses import REPLICATED
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import (
    DATAVOLUMES,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    VIRTUALMACHINEINSTANCES,
    VM_SUBRESOURCES,
)
from kubelet_bridge.translate.annotations import HOTPLUG
from kubelet_bridge.translate.hotplug import TAG
from tests.support.bridge import Bridge, Json, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
PLUGGED = "kubelet-bridge.io/DisksPlugged"


async def claim(world: World, name: str, of: str = VM_DISK, mode: str = "ReadWriteOnce") -> None:
    spec = {"storageClassName": of, "accessModes": [mode], "resources": {"requests": {"storage": "16Mi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    await world.create(PERSISTENTVOLUMECLAIMS, made)


async def start(world: World, name: str, listed: str) -> Json:
    body = world.pod(name)
    body["metadata"]["annotations"] = {HOTPLUG: listed}
    await world.create(PODS, body)
    return await world.ready(name, seconds=120)


async def ask(world: World, name: str, listed: str | None) -> None:
    body = {"metadata": {"annotations": {HOTPLUG: listed}}}
    await world.client.patch(PODS, world.namespace, name, body, kind=PatchType.MERGE)


async def told(world: World, name: str, status: str, message: str) -> Json:
    """The Pod once its condition says so."""
    last: Any = None

    async def look() -> Json | None:
        nonlocal last
        pod = await world.get(PODS, name)
        found = [one for one in (pod or {"status": {}})["status"].get("conditions", []) if one["type"] == PLUGGED]
        last = found
        says = any(one["status"] == status and message in one.get("message", "") for one in found)
        return pod if says else None

    pod: Json = await eventually(look, lambda: f"{status} {message!r}: {last}; {world.bridge.tail()}", seconds=90)
    return pod


async def disks(world: World) -> dict[str, Json]:
    (vm,) = await world.vms()
    spec = vm["spec"]["template"]["spec"]
    found = {one["name"]: one for one in spec["domain"]["devices"]["disks"]}
    assert sorted(found) == sorted(one["name"] for one in spec["volumes"])
    return found


async def plugged(world: World, name: str) -> list[str]:
    """What the running machine has, by KubeVirt's word."""
    vmi = await world.get(VIRTUALMACHINEINSTANCES, name)
    assert vmi is not None
    found = vmi["status"].get("volumeStatus", [])
    return sorted(one["name"] for one in found if "hotplugVolume" in one and one["phase"] == "Ready")


async def reasons(world: World, name: str, words: str) -> set[str]:
    events = await world.find(EVENTS)
    return {one["reason"] for one in events if one["involvedObject"]["name"] == name and words in one["message"]}


async def removed(world: World, *pods: str) -> None:
    """While the bridge is there to take away what it made."""
    for name in pods:
        await world.client.delete(PODS, world.namespace, name)
    for one in await world.find(PERSISTENTVOLUMECLAIMS):
        if one["spec"]["storageClassName"] == VM_DISK:
            await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, one["metadata"]["name"])

    async def nothing() -> bool:
        return not await world.find(DATAVOLUMES)

    await eventually(nothing, lambda: f"no disk left; {world.bridge.tail()}", seconds=90)


async def test_disks_come_and_go_without_a_restart(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "a")
    await claim(world, "b")
    await start(world, "web", "a")
    first = await told(world, "web", "True", "plugged in: a")
    assert await plugged(world, "web") == ["a"]
    await ask(world, "web", "b:virtio")
    second = await told(world, "web", "True", "plugged in: b")
    assert await plugged(world, "web") == ["b"]
    assert (await disks(world))["b"]["disk"] == {"bus": "virtio"}
    await ask(world, "web", "b, a:readonly")
    await told(world, "web", "True", "plugged in: b, a")
    await ask(world, "web", None)
    last = await told(world, "web", "True", "plugged in: none")
    assert await plugged(world, "web") == []
    statuses = [one["status"]["containerStatuses"][0] for one in (first, second, last)]
    assert {(one["containerID"], one["restartCount"]) for one in statuses} == {(statuses[0]["containerID"], 0)}
    for name in ("a", "b"):
        assert {"AttachedVolume", "DetachedVolume"} <= await reasons(world, "web", f'disk "{name}"')
    await removed(world, "web")


async def test_what_somebody_else_plugs_in_stays(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "a")
    await claim(world, "theirs", REPLICATED)
    await start(world, "web", "a")
    await told(world, "web", "True", "plugged in: a")
    source = {"persistentVolumeClaim": {"claimName": "theirs"}}
    options = {"name": "theirs", "disk": {"disk": {"bus": "scsi"}}, "volumeSource": source}
    path = VM_SUBRESOURCES.path(world.namespace, "web", "addvolume")
    await world.client.request("PUT", path, body=msgspec.json.encode(options), headers={"Accept": "*/*"})

    async def both() -> bool:
        return await plugged(world, "web") == ["a", "theirs"]

    await eventually(both, lambda: f"both disks; {bridge.tail()}", seconds=60)
    await ask(world, "web", "theirs")
    await told(world, "web", "False", 'another disk "theirs"')
    assert {name for name, one in (await disks(world)).items() if one.get("tag") == TAG} == set()
    image = {"spec": {"containers": [{"name": "vm", "image": "example.test/disk:2"}]}}
    await world.client.patch(PODS, world.namespace, "web", image, kind=PatchType.STRATEGIC)

    async def again() -> bool:
        pod = await world.get(PODS, "web")
        return pod is not None and pod["status"]["containerStatuses"][0]["restartCount"] == 1

    await eventually(again, lambda: f"another boot; {bridge.tail()}", seconds=60)
    assert "theirs" in await disks(world)
    await removed(world, "web")


async def test_a_restarted_vm_has_its_disks(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "a")
    await start(world, "web", "a")
    await told(world, "web", "True", "plugged in: a")
    await world.client.delete(VIRTUALMACHINEINSTANCES, world.namespace, "web")

    async def again() -> bool:
        pod = await world.get(PODS, "web")
        return pod is not None and pod["status"]["containerStatuses"][0]["restartCount"] == 1

    await eventually(again, lambda: f"another boot; {bridge.tail()}", seconds=60)
    await told(world, "web", "True", "plugged in: a")
    assert await plugged(world, "web") == ["a"]
    await removed(world, "web")


async def test_what_cannot_be_plugged_in_is_told_and_the_pod_runs_on(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "a")
    await claim(world, "mine-alone", REPLICATED, "ReadWriteOncePod")
    await start(world, "web", "absent, mine-alone, a:sata")
    refused = await told(world, "web", "False", "'sata' is none of scsi, virtio")
    (condition,) = [one for one in refused["status"]["conditions"] if one["type"] == PLUGGED]
    assert 'persistentvolumeclaim "absent" not found' in condition["message"]
    assert condition["reason"] == "FailedAttachVolume"
    await ask(world, "web", "a")
    await told(world, "web", "True", "plugged in: a")
    assert "FailedAttachVolume" in await reasons(world, "web", "not found")

    await start(world, "other", "a")
    await told(world, "other", "False", "already used by virtual machine web")
    await ask(world, "web", "")
    await told(world, "other", "True", "plugged in: a")
    await removed(world, "web", "other")


@pytest.mark.crash
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("step", ["select-node", "plug", "unplug"])
async def test_killed_while_disks_change(world: World, bridge: Bridge, step: str, side: str) -> None:
    await bridge.start(failpoints=f"executor.{step}.{side}:1")
    await claim(world, "a")
    await claim(world, "b")
    body = world.pod("web")
    body["metadata"]["annotations"] = {HOTPLUG: "a"}
    await world.create(PODS, body)
    if step == "unplug":
        await told(world, "web", "True", "plugged in: a")
        await ask(world, "web", "b")
    assert await bridge.died(seconds=120) == -9
    await ask(world, "web", "b")
    await bridge.start()
    await told(world, "web", "True", "plugged in: b")
    assert await plugged(world, "web") == ["b"]
    assert [name for name, one in (await disks(world)).items() if one.get("tag") == TAG] == ["b"]
    await removed(world, "web")
