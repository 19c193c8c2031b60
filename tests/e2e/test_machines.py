"""A VM for each container: init containers in order, one status, and no VM twice or left behind, whoever dies."""

from typing import Any

import pytest

from kubelet_bridge.model.meta import LABEL_CONTAINER, LABEL_POD_UID
from kubelet_bridge.model.resources import PODS, SECRETS, VIRTUALMACHINES
from tests.support.bridge import Bridge, Json, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

INIT, MAIN = ("fetch", "prepare"), ("web", "log")
ENDS, STAYS = "fault.test/shutdown-after-2:1", "example.test/disk:1"


def spread(world: World, **spec: Any) -> Json:
    """A Pod of two init and two main containers, each a machine of its own."""

    def container(name: str, image: str) -> Json:
        return {"name": name, "image": image, "resources": {"limits": {"cpu": "1", "memory": "128Mi"}}}

    pod = world.pod(
        "one", initContainers=[container(name, ENDS) for name in INIT],
        containers=[container(name, STAYS) for name in MAIN], **spec,
    )  # fmt: skip
    pod["metadata"]["annotations"] = {"kubelet-bridge.io/containers": "vm-per-container"}
    return pod


async def machines(world: World) -> dict[str, str]:
    """The uids of the VMs by container; each container has one."""
    found = [(vm["metadata"]["labels"][LABEL_CONTAINER], vm["metadata"]["uid"]) for vm in await world.vms()]
    assert len(found) == len(dict(found)), f"two VMs for one container: {found}"
    return dict(found)


async def only(world: World, *containers: str) -> dict[str, str]:
    async def check() -> tuple[dict[str, str]] | None:
        found = await machines(world)
        return (found,) if set(found) == set(containers) else None

    found: tuple[dict[str, str]] = await eventually(
        check, lambda: f"VMs of {containers} only; {world.bridge.tail()}", seconds=150
    )
    return found[0]


async def has(world: World, container: str) -> None:
    async def check() -> bool:
        return container in await machines(world)

    await eventually(check, lambda: f"a VM of {container}; {world.bridge.tail()}", seconds=150, every=0.05)


async def test_each_container_has_a_vm_and_init_containers_run_in_order(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await world.create(PODS, spread(world))
    await has(world, "fetch")
    await bridge.kill()
    await bridge.start()
    await has(world, "prepare")
    await bridge.kill()
    await bridge.start()
    pod = await world.ready("one", seconds=150)
    before = await only(world, *MAIN)
    status = pod["status"]
    ends = [one["state"]["terminated"] for one in status["initContainerStatuses"]]
    assert [one["exitCode"] for one in ends] == [0, 0]
    begun = min(one["state"]["running"]["startedAt"] for one in status["containerStatuses"])
    assert ends[0]["finishedAt"] <= ends[1]["finishedAt"] <= begun
    assert all(one["ready"] for one in (*status["initContainerStatuses"], *status["containerStatuses"]))
    assert len({one["containerID"] for one in status["containerStatuses"]}) == 2
    first = next(vm for vm in await world.vms() if vm["metadata"]["labels"][LABEL_CONTAINER] == "web")
    assert first["metadata"]["labels"][LABEL_POD_UID] == pod["metadata"]["uid"]
    launchers = await world.find(PODS, label_selector=f"{LABEL_CONTAINER}=web")
    assert [one["status"]["podIP"] for one in launchers] == [status["podIP"]]
    await bridge.kill()
    for file in bridge.state_dir.glob("intents.db*"):
        file.unlink()
    await bridge.start()
    await world.client.delete(VIRTUALMACHINES, world.namespace, first["metadata"]["name"])

    async def replaced() -> bool:
        now = await machines(world)
        return set(now) == set(MAIN) and now["log"] == before["log"] and now["web"] != before["web"]

    await eventually(
        replaced, lambda: f"the VM that somebody deleted is made again; {bridge.tail()}", seconds=150
    )  # fmt: skip
    await world.ready("one", seconds=150)


async def test_a_pod_that_is_deleted_leaves_nothing_of_any_machine(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await world.create(PODS, spread(world, terminationGracePeriodSeconds=1))
    await only(world, *MAIN)
    await world.client.delete(PODS, world.namespace, "one")

    async def on_its_way() -> bool:
        vms = await world.vms()
        return len(vms) < 2 or any("deletionTimestamp" in vm["metadata"] for vm in vms)

    await eventually(on_its_way, lambda: f"a VM is deleted; {bridge.tail()}", every=0.02)
    await bridge.kill()
    await bridge.start()
    await world.gone(PODS, "one", seconds=150)
    await only(world)

    async def no_secrets() -> bool:
        return not [one for one in await world.find(SECRETS) if one["metadata"]["name"].endswith("-cloudinit")]

    await eventually(no_secrets, "the Secrets go with the Pod")


async def test_a_pod_that_went_while_the_bridge_was_away_leaves_nothing(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await world.create(PODS, spread(world, restartPolicy="Never"))
    await has(world, "prepare")
    await bridge.kill()
    await world.client.delete(PODS, world.namespace, "one", grace_seconds=0)
    await bridge.start()
    await only(world)


async def test_a_pod_is_over_when_its_main_containers_are(world: World, bridge: Bridge) -> None:
    await bridge.start()
    pod = spread(world, restartPolicy="OnFailure")
    for one in pod["spec"]["containers"]:
        one["image"] = ENDS
    sidecar = {"name": "side", "image": STAYS, "restartPolicy": "Always"}
    pod["spec"]["initContainers"].insert(1, sidecar)
    await world.create(PODS, pod)
    done = await world.phase("one", "Succeeded", seconds=150)
    assert [one["state"]["terminated"]["exitCode"] for one in done["status"]["containerStatuses"]] == [0, 0]
    await only(world, *MAIN)


async def test_what_cannot_be_shared_is_refused(world: World, bridge: Bridge) -> None:
    await bridge.start()
    pod = spread(world)
    pod["spec"]["volumes"] = [{"name": "work", "emptyDir": {}}]
    for one in (pod["spec"]["initContainers"][0], pod["spec"]["containers"][1]):
        one["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
    await world.create(PODS, pod)
    refused = await world.phase("one", "Failed")
    assert refused["status"]["reason"] == "UnsupportedPodSpec"
    assert "spec.volumes[0].emptyDir: is mounted by several containers" in refused["status"]["message"]
    assert not await world.vms()
