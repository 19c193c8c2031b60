"""Whose turn it is with a disk: VMs of this node, of others, ended ones, and two that come at once."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import ApiUnavailable, Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.resources import Resource
from kubelet_bridge.translate.ownership import labels

ONE, TWO = PodKey("shop", "one", "uid-1"), PodKey("shop", "two", "uid-2")
INIT, MAIN = (PodKey("shop", f"one/{name}", f"uid-1/{name}", name, "uid-1") for name in ("init", "main"))
CONTENDED = 'Multi-Attach error for volume "data": it is already used by '


class Server:
    """Lists the instances of other nodes."""

    def __init__(self) -> None:
        self.instances: list[dict[str, Any]] = []
        self.selectors: list[str] = []
        self.away = False

    async def list(self, _resource: Resource, _namespace: str, *, label_selector: str) -> bytes:
        await asyncio.sleep(0)
        self.selectors.append(label_selector)
        if self.away:
            raise ApiUnavailable(0, "Unreachable", "no answer")
        return msgspec.json.encode({"items": self.instances})


class World:
    def __init__(self) -> None:
        self.server = Server()
        self.view = NodeView(cast("Client", self.server), "vnode")
        for key in (ONE, TWO):
            self.pod(key, "Running")

    def pod(self, key: PodKey, phase: str) -> None:
        self.view.pods.learn(_object(key.name, {}, status={"phase": phase}, uid=key.uid))

    def vm(self, key: PodKey, name: str, *, reads: bool = False) -> None:
        volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "data", "readOnly": reads}}]
        spec = {"template": {"spec": {"volumes": volumes}}}
        self.view.vms.learn(_object(name, labels(key, "vnode"), spec=spec))

    def instance(self, key: PodKey, name: str, phase: str) -> None:
        self.view.vmis.learn(_object(name, labels(key, "vnode"), spec=_spec(), status={"phase": phase}))


def _spec() -> dict[str, Any]:
    return {"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]}


_versions = iter(range(1, 1_000_000))


def _object(name: str, marks: dict[str, str], *, uid: str = "", **fields: Any) -> bytes:
    metadata = {"name": name, "namespace": "shop", "uid": uid or name, "labels": marks}
    return msgspec.json.encode({"metadata": {**metadata, "resourceVersion": str(next(_versions))}, **fields})


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_disk_that_another_vm_has_is_not_given(world: World) -> None:
    world.vm(ONE, "one")
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}virtual machine one"]
    assert await world.view.take_disks(ONE, {"data": False}) == []
    assert await world.view.take_disks(TWO, {"other": False}) == []


async def test_of_two_that_come_at_once_one_gets_it(world: World) -> None:
    found = await asyncio.gather(*(world.view.take_disks(key, {"data": False}) for key in (ONE, TWO)))
    assert found == [[], [f"{CONTENDED}Pod one"]]


async def test_who_took_it_has_it_until_it_is_known_that_nothing_came_of_it(world: World) -> None:
    assert await world.view.take_disks(ONE, {"data": False}) == []
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}Pod one"]
    world.view.pods.unlearn("shop", "one", uid="uid-1")  # by force, while its VM is asked for
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}Pod one"]
    world.view.give_back_disks(ONE)
    assert await world.view.take_disks(TWO, {"data": False}) == []


async def test_readers_disturb_nobody_but_writers(world: World) -> None:
    world.vm(ONE, "one", reads=True)
    assert await world.view.take_disks(TWO, {"data": True}) == []
    assert await world.view.take_disks(TWO, {"data": False}) != []


@pytest.mark.parametrize(("phase", "pod", "free"), [
    ("Running", "Running", False), ("Succeeded", "Running", False), ("Failed", "Failed", True),
    ("Running", "Failed", False),
])  # fmt: skip
async def test_a_vm_has_its_disks_until_it_has_ended_for_good(world: World, phase: str, pod: str, free: bool) -> None:
    world.vm(ONE, "one")
    world.instance(ONE, "one", phase)
    world.pod(ONE, pod)
    assert (await world.view.take_disks(TWO, {"data": False}) == []) is free


async def test_what_a_pod_left_behind_that_was_deleted_by_force_still_has_its_disks(world: World) -> None:
    world.vm(ONE, "one")
    world.instance(ONE, "one", "Running")
    world.view.pods.unlearn("shop", "one", uid="uid-1")
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}virtual machine one"]
    world.view.vms.unlearn("shop", "one", uid="one")
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}virtual machine one"]
    world.view.vmis.unlearn("shop", "one", uid="one")
    assert await world.view.take_disks(TWO, {"data": False}) == []


async def test_machines_of_one_pod_come_one_after_another(world: World) -> None:
    assert await world.view.take_disks(INIT, {"data": False}) == []
    world.vm(INIT, "one-init")
    world.instance(INIT, "one-init", "Running")
    assert await world.view.take_disks(MAIN, {"data": False}) == [f"{CONTENDED}virtual machine one-init"]
    world.instance(INIT, "one-init", "Succeeded")
    assert await world.view.take_disks(MAIN, {"data": False}) == []


@pytest.mark.parametrize(("phase", "free"), [("Running", False), ("Failed", True)])
async def test_vms_of_other_nodes_and_of_people_count(world: World, phase: str, free: bool) -> None:
    metadata = {"name": "theirs", "namespace": "shop", "uid": "theirs"}
    world.server.instances = [{"metadata": metadata, "spec": _spec(), "status": {"phase": phase}}]
    found = await world.view.take_disks(ONE, {"data": False})
    assert found == ([] if free else [f"{CONTENDED}virtual machine theirs"])
    assert world.server.selectors == ["kubelet-bridge.io/node!=vnode"]
    world.server.instances = []
    assert await world.view.take_disks(TWO, {"data": False}) == ([f"{CONTENDED}Pod one"] if free else [])


async def test_a_server_that_does_not_answer_gives_no_disk(world: World) -> None:
    world.server.away = True
    with pytest.raises(ApiUnavailable):
        await world.view.take_disks(ONE, {"data": False})
    assert await world.view.take_disks(ONE, {}) == []


async def test_what_is_given_back_is_anybodys_unless_the_machine_has_it() -> None:
    world = World()
    for refused in (True, False):
        assert await world.view.take_disks(ONE, {"data": False}) == []
        assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}Pod one"]
        if not refused:
            world.vm(ONE, "one")
        world.view.give_back_disks(ONE, ["data", "never-taken"])
        found = await world.view.take_disks(TWO, {"data": False})
        assert found == ([] if refused else [f"{CONTENDED}virtual machine one"])
        world.view.give_back_disks(TWO, ["data"])


async def test_no_disk_is_given_before_it_is_known_which_are_lost(world: World) -> None:
    world.view.disks_known = lambda: False
    with pytest.raises(Transient, match="not known yet"):
        await world.view.take_disks(ONE, {"data": False})
    assert await world.view.take_disks(ONE, {}) == []


async def test_a_disk_that_is_being_unplugged_is_still_its_vms(world: World) -> None:
    attached = [{"name": "disk", "persistentVolumeClaimInfo": {"claimName": "data"}}, {"name": "cloudinit"}]
    status = {"phase": "Running", "volumeStatus": attached}
    world.view.vmis.learn(_object("one", labels(ONE, "vnode"), spec={"volumes": []}, status=status))
    assert await world.view.take_disks(TWO, {"data": False}) == [f"{CONTENDED}virtual machine one"]
    world.view.vmis.learn(_object("one", labels(ONE, "vnode"), spec={"volumes": []}, status={"phase": "Running"}))
    assert await world.view.take_disks(TWO, {"data": False}) == []


async def test_a_vm_that_is_no_vm_ends_nothing(world: World) -> None:
    world.view.vms.learn(_object("odd", labels(ONE, "vnode"), spec={"template": None}))
    assert world.view.vms.get("shop", "odd") is not None
    assert await world.view.take_disks(TWO, {"data": False}) == []


async def test_what_is_given_back_while_others_are_asked_is_given_back_once(world: World) -> None:
    metadata = {"name": "theirs", "namespace": "shop", "uid": "theirs"}
    world.server.instances = [{"metadata": metadata, "spec": _spec(), "status": {"phase": "Running"}}]
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(world.view.take_disks(ONE, {"data": False}))
        await asyncio.sleep(0)
        world.view.give_back_disks(ONE)
    assert asking.result() == [f"{CONTENDED}virtual machine theirs"]
