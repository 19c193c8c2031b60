"""Pods that are over stay over: their guests are not started again, whoever was restarted meanwhile."""

import pytest

from kubelet_bridge.model.resources import PODS, VIRTUALMACHINES
from tests.support.bridge import Bridge, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

ENDS = {"Never": "Succeeded", "OnFailure": "Succeeded"}


async def test_completed_pods_outlive_the_bridge_and_its_database(world: World, bridge: Bridge) -> None:
    await bridge.start()
    for policy in ENDS:
        pod = world.pod(policy.lower(), restartPolicy=policy, container={"image": "fault.test/shutdown-after-1:1"})
        await world.create(PODS, pod)
    before = {policy: (await world.phase(policy.lower(), phase))["status"] for policy, phase in ENDS.items()}
    vms = {vm["metadata"]["uid"] for vm in await world.vms()}
    await bridge.kill()
    for file in bridge.state_dir.glob("intents.db*"):
        file.unlink()
    await bridge.start()
    await world.create(PODS, world.pod("next"))
    await world.ready("next")
    for policy in ENDS:
        after = await world.get(PODS, policy.lower())
        assert after is not None
        assert after["status"] == before[policy]
        await world.client.delete(PODS, world.namespace, policy.lower())
    assert vms < {vm["metadata"]["uid"] for vm in await world.vms()}

    async def one_left() -> bool:
        return [vm["metadata"]["name"] for vm in await world.vms()] == ["next"]

    await eventually(one_left, f"the VMs of completed Pods go with them; {bridge.tail()}")
    await world.settled()


@pytest.mark.parametrize("image", ["shutdown-after-2", "crash-after-2"])
@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
async def test_a_guest_that_ends_while_the_bridge_is_away(
    world: World, bridge: Bridge, policy: str, image: str
) -> None:
    await bridge.start()
    pod = world.pod("one", restartPolicy=policy, container={"image": f"fault.test/{image}:1"})
    await world.create(PODS, pod)
    await world.ready("one")
    await bridge.kill()

    async def ended() -> bool:
        vm = await world.get(VIRTUALMACHINES, "one")
        restarting = policy == "OnFailure" and image.startswith("crash")
        return vm is not None and (restarting or vm["status"].get("printableStatus") == "Stopped")

    await eventually(ended, "the guest ended")
    await bridge.start()
    if image.startswith("shutdown"):
        await world.phase("one", "Succeeded")
    elif policy == "Never":
        await world.phase("one", "Failed")
    else:

        async def counted() -> bool:
            found = await world.get(PODS, "one")
            return found is not None and found["status"]["containerStatuses"][0]["restartCount"] > 0

        await eventually(counted, f"the restart is counted; {bridge.tail()}")
    await world.settled()
