"""Real components of the cluster killed under a running bridge: it waits, touches nothing, and catches up."""

import asyncio
import os
import signal
from collections.abc import Iterator

import aiohttp
import pytest

from kubelet_bridge.devcluster import processes
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.model.resources import EVENTS, NODES, PODS, VIRTUALMACHINEINSTANCES, VIRTUALMACHINES
from tests.support.bridge import Bridge, Json, World, condition, decoded, eventually
from tests.support.cluster import run_apart

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def dev_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster of this module's own, to be broken."""
    cluster = DevCluster(tmp_path_factory.mktemp("broken") / "dev")
    try:
        run_apart(cluster.up())
        yield cluster
    finally:
        run_apart(cluster.down())


async def _kill(cluster: DevCluster, name: str) -> None:
    """SIGKILL, as the kernel's out-of-memory killer would."""
    process = await asyncio.to_thread(processes.recorded, cluster.layout, name)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)


async def _node(bridge: Bridge) -> Json:
    node: Json = {"status": decoded(await bridge.client.get(NODES, None, bridge.node))["status"]}
    return node


async def _identities(world: World) -> dict[str, tuple[str, int]]:
    """Of every VM and instance: the uid, and how often its spec was written."""
    found = [*await world.find(VIRTUALMACHINES), *await world.find(VIRTUALMACHINEINSTANCES)]
    return {f"{one['kind']} {one['metadata']['name']}": _identity(one) for one in found}


def _identity(one: Json) -> tuple[str, int]:
    return one["metadata"]["uid"], one["metadata"]["generation"]


def _lasting(pod: Json) -> Json:
    """What of a status an outage must not change."""
    return {name: pod["status"][name] for name in ("phase", "podIP", "startTime", "containerStatuses")}


async def test_the_api_server_is_killed_for_a_minute(world: World, bridge: Bridge, dev_cluster: DevCluster) -> None:
    await bridge.start()
    names = ("a", "b", "c")
    for name in names:
        await world.create(PODS, world.pod(name))
    before = {name: await world.ready(name) for name in names}
    identities = await _identities(world)
    await _kill(dev_cluster, "kube-apiserver")
    await asyncio.sleep(60)
    assert bridge.alive
    async with aiohttp.ClientSession() as http, http.get(bridge.admin("/livez")) as response:
        assert response.status == 200
    await dev_cluster.start("kube-apiserver")
    await world.create(PODS, world.pod("late"))
    await world.ready("late", seconds=90)
    await eventually(lambda: _is_ready(bridge), "the node Ready")
    after = {name: await world.ready(name) for name in names}
    assert {name: _lasting(after[name]) for name in names} == {name: _lasting(before[name]) for name in names}
    assert (await _identities(world)).items() >= identities.items()
    await world.client.delete(PODS, world.namespace, "a")
    await world.gone(PODS, "a")
    await eventually(lambda: _vm_gone(world, "a"), "the VM gone")
    await world.settled()


async def test_kubevirt_api_is_away(world: World, bridge: Bridge, dev_cluster: DevCluster) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("before"))
    # The scheduler may still wait longer and longer for an API server that was away in an earlier test.
    running = _lasting(await world.ready("before", seconds=180))
    identities = await _identities(world)
    await dev_cluster.stop("virt-api")
    try:
        await world.create(PODS, world.pod("meanwhile"))
        await eventually(lambda: _says_why(world, "meanwhile"), lambda: f"the Pod tells why; {bridge.tail()}")
        await eventually(lambda: _kubevirt_is(bridge, "False"), "KubeVirtAvailable=False", seconds=90)
        assert condition(await _node(bridge), "Ready") == "True"
    finally:
        await dev_cluster.start("virt-api")
    await world.ready("meanwhile", seconds=90)
    await eventually(lambda: _kubevirt_is(bridge, "True"), "KubeVirtAvailable=True")
    assert _lasting(await world.ready("before")) == running
    assert (await _identities(world)).items() >= identities.items()
    await world.settled()


async def _is_ready(bridge: Bridge) -> bool:
    return condition(await _node(bridge), "Ready") == "True"


async def _kubevirt_is(bridge: Bridge, status: str) -> bool:
    return condition(await _node(bridge), "KubeVirtAvailable") == status


async def _vm_gone(world: World, name: str) -> bool:
    return await world.get(VIRTUALMACHINES, name) is None


async def _says_why(world: World, name: str) -> bool:
    """In its status, and in the events that ``kubectl describe`` shows."""
    pod = await world.get(PODS, name)
    assert pod is not None
    waiting = [one["state"].get("waiting", {}) for one in pod["status"].get("containerStatuses", [])]
    told = [one["message"] for one in await world.find(EVENTS) if one["involvedObject"]["name"] == name]
    reasons = {one.get("reason") for one in waiting if "webhook" in one.get("message", "")}
    return "CreateContainerError" in reasons and any("webhook" in message for message in told)
