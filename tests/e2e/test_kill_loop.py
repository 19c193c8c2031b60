"""SIGKILL every two seconds while a hundred Pods come and go: the end is as if nothing had happened."""

import asyncio

import pytest

from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, World, condition, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(240)]

PODS_EACH = 50
KILLS = 10


async def test_killed_again_and_again_under_load(world: World, bridge: Bridge) -> None:
    await bridge.start()
    for number in range(PODS_EACH):
        await world.create(PODS, world.pod(f"stay-{number}", terminationGracePeriodSeconds=1))
    seen: dict[str, set[str]] = {}
    async with asyncio.TaskGroup() as group:
        group.create_task(come_and_go(world))
        for _ in range(KILLS):
            await asyncio.sleep(2)
            await bridge.kill()
            for vm in await world.vms():
                seen.setdefault(vm["metadata"]["name"], set()).add(vm["metadata"]["uid"])
            await bridge.start(ready=False)
    await bridge.wait_ready()

    async def calm() -> bool:
        pods = await world.pods()
        ready = len(pods) == PODS_EACH and all(condition(pod, "Ready") == "True" for pod in pods)
        return ready and len(await world.vms()) == PODS_EACH

    await eventually(calm, f"{PODS_EACH} Pods and VMs left; {bridge.tail()}", seconds=90, every=1.0)
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in await world.pods()} == {0}
    now = {vm["metadata"]["name"]: {vm["metadata"]["uid"]} for vm in await world.vms()}
    assert {name: seen.get(name, uid) | uid for name, uid in now.items()} == now, "a VM was made twice"
    await world.settled()


async def come_and_go(world: World) -> None:
    """Pods that are deleted at every age: before anybody saw them, while they start, and when they run."""
    for number in range(PODS_EACH):
        await world.create(PODS, world.pod(f"go-{number}", terminationGracePeriodSeconds=1))
        await asyncio.sleep(0.2)
        if number >= 20:
            grace = 0 if number % 5 == 0 else None
            await world.client.delete(PODS, world.namespace, f"go-{number - 20}", grace_seconds=grace)
    for number in range(PODS_EACH - 20, PODS_EACH):
        await world.client.delete(PODS, world.namespace, f"go-{number}")
        await asyncio.sleep(0.1)
