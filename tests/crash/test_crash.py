"""SIGKILL before and after every step, then a restart: the same end as if nothing had happened."""

import asyncio

import pytest

from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import PODS
from kubelet_bridge.store.views import list_intents
from tests.support.bridge import Bridge, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(180)]

SIDES = ("before", "after")
CREATE = ("executor.accept", "executor.secret", "executor.create", "status.patch")
DELETE = ("executor.record", "executor.delete-vm", "executor.finalize", "executor.forget")
UPDATE = ("executor.update", "executor.replace")
STORE = ("store.batch.begin", "store.batch.written", "store.batch.committed", "store.batch.acknowledged")
BATCHES = (1, 2, 3, 4, 5)
"""The first batch of a process prunes; the four after it are those of one Pod that comes, or of one that goes."""


async def _crash_and_return(bridge: Bridge) -> None:
    assert await bridge.died() == -9
    await bridge.start()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("step", CREATE)
async def test_killed_while_creating(world: World, bridge: Bridge, step: str, side: str) -> None:
    await bridge.start(failpoints=f"{step}.{side}:1")
    pod = await world.create(PODS, world.pod("one"))
    await _crash_and_return(bridge)
    ready = await world.ready("one")
    assert ready["metadata"]["uid"] == pod["metadata"]["uid"]
    assert ready["status"]["containerStatuses"][0]["restartCount"] == 0
    await world.settled()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("step", DELETE)
async def test_killed_while_deleting(world: World, bridge: Bridge, step: str, side: str) -> None:
    await bridge.start(failpoints=f"{step}.{side}:1")
    await world.create(PODS, world.pod("one"))
    await world.create(PODS, world.pod("other"))
    await world.ready("one")
    other = await world.ready("other")
    before = {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()}
    await world.client.delete(PODS, world.namespace, "one")
    await _crash_and_return(bridge)
    await world.gone(PODS, "one")

    async def one_vm() -> bool:
        return len(await world.vms()) == 1

    await eventually(one_vm, "only the other VM left")
    assert [vm["metadata"]["uid"] for vm in await world.vms()] == [before["other"]]
    assert (await world.ready("other"))["status"]["podIP"] == other["status"]["podIP"]
    await world.settled()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("point", STORE)
async def test_killed_while_writing_what_comes(world: World, bridge: Bridge, point: str, batch: int) -> None:
    await bridge.start(failpoints=f"{point}:{batch}", ready=False)
    pod = await world.create(PODS, world.pod("one"))
    await _crash_and_return(bridge)
    ready = await world.ready("one")
    assert ready["metadata"]["uid"] == pod["metadata"]["uid"]
    assert ready["status"]["containerStatuses"][0]["restartCount"] == 0
    await world.settled()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("point", STORE)
async def test_killed_while_writing_what_goes(world: World, bridge: Bridge, point: str, batch: int) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    await bridge.stop()
    await bridge.start(failpoints=f"{point}:{batch}", ready=batch > 1)
    await world.client.delete(PODS, world.namespace, "one")
    await _crash_and_return(bridge)
    await world.gone(PODS, "one")
    await eventually(lambda: _nothing(world), lambda: f"no VM left; {bridge.tail()}")
    await eventually(lambda: _nothing_promised(bridge), lambda: f"no intent left; {bridge.tail()}")


async def _nothing(world: World) -> bool:
    return not await world.vms()


async def _nothing_promised(bridge: Bridge) -> bool:
    return not await asyncio.to_thread(list_intents, bridge.state_dir)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("step", UPDATE)
async def test_killed_while_updating(world: World, bridge: Bridge, step: str, side: str) -> None:
    await bridge.start(failpoints=f"{step}.{side}:1")
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    uid = (await world.vms())[0]["metadata"]["uid"]
    image = {"spec": {"containers": [{"name": "vm", "image": "example.test/disk:2"}]}}
    await world.client.patch(PODS, world.namespace, "one", image, kind=PatchType.STRATEGIC)
    await _crash_and_return(bridge)

    async def updated() -> bool:
        pod = await world.get(PODS, "one")
        assert pod is not None
        status = pod["status"]["containerStatuses"][0]
        vm = (await world.vms())[0]
        disk = vm["spec"]["template"]["spec"]["volumes"][0]["containerDisk"]["image"]
        return disk.endswith(":2") and status["restartCount"] == 1 and status["ready"]

    await eventually(updated, lambda: f"the VM restarted once with the new image; {bridge.tail()}", seconds=90)
    assert [vm["metadata"]["uid"] for vm in await world.vms()] == [uid]
    await world.settled()


async def test_pods_deleted_while_away(world: World, bridge: Bridge) -> None:
    await bridge.start()
    for name in ("graceful", "forced", "kept"):
        await world.create(PODS, world.pod(name))
    for name in ("graceful", "forced", "kept"):
        await world.ready(name)
    kept = {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()}["kept"]
    await bridge.kill()
    await world.client.delete(PODS, world.namespace, "graceful")
    await world.client.delete(PODS, world.namespace, "forced", grace_seconds=0)
    await bridge.start()
    await world.gone(PODS, "graceful")

    async def only_kept() -> bool:
        return [vm["metadata"]["uid"] for vm in await world.vms()] == [kept]

    await eventually(only_kept, "only the kept VM left")
    await world.settled()


@pytest.mark.parametrize("running", [True, False], ids=["while running", "while stopped"])
async def test_the_database_is_deleted(world: World, bridge: Bridge, *, running: bool) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("one"))
    before = await world.ready("one")
    vms = [vm["metadata"]["uid"] for vm in await world.vms()]
    if not running:
        await bridge.stop()
    for file in bridge.state_dir.glob("intents.db*"):
        file.unlink()
    if running:
        await bridge.kill()
    await bridge.start()
    await world.create(PODS, world.pod("two"))
    await world.ready("two")
    after = await world.ready("one")
    assert [vm["metadata"]["uid"] for vm in await world.vms() if vm["metadata"]["name"] == "one"] == vms
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert after["status"]["startTime"] == before["status"]["startTime"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    await world.client.delete(PODS, world.namespace, "one")
    await world.gone(PODS, "one")
    await world.settled()
