"""Ordinary workloads with ordinary kubectl, on real controllers."""

from typing import Any

import pytest

from kubelet_bridge.model.resources import PODS, VIRTUALMACHINES
from tests.support.bridge import Bridge, World, eventually
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

Json = dict[str, Any]


def deployment(world: World, name: str, replicas: int, **container: Any) -> Json:
    template = world.pod(name, container={"ports": [{"name": "http", "containerPort": 8080}], **container})
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }  # fmt: skip


def service(name: str) -> Json:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }  # fmt: skip


def job(world: World, name: str, image: str, *, restart: str = "Never", backoff: int = 0) -> Json:
    template = world.pod(name, restartPolicy=restart, container={"image": image})
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "backoffLimit": backoff,
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }  # fmt: skip


async def endpoints(kubectl: Kubectl, name: str) -> set[str]:
    slices = await kubectl.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={name}")
    return {
        address for one in slices["items"] for endpoint in one.get("endpoints") or []
        if endpoint["conditions"].get("ready") for address in endpoint["addresses"]
    }  # fmt: skip


async def test_a_deployment_behind_a_service_scales_rolls_and_goes(
    world: World, bridge: Bridge, kubectl: Kubectl
) -> None:
    await bridge.start()
    await kubectl.apply(deployment(world, "web", 3), service("web"))
    await kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = await world.pods(label_selector="app=web")
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == 3
    assert {pod["spec"]["nodeName"] for pod in pods} == {bridge.node}

    async def served() -> bool:
        return await endpoints(kubectl, "web") == addresses

    await eventually(served, f"the Service serves the Pods and nobody else: {addresses}")

    await kubectl("scale", "deployment/web", "--replicas=10")
    await kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    assert len(await world.vms()) == 10
    await kubectl("scale", "deployment/web", "--replicas=1")

    async def one_left() -> bool:
        return len(await world.vms()) == 1 and len(await world.pods(label_selector="app=web")) == 1

    await eventually(one_left, "one Pod and one VM left", seconds=90)

    before = (await world.vms())[0]["metadata"]["uid"]
    await kubectl("rollout", "restart", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    await eventually(one_left, "one Pod and one VM after the rollout", seconds=90)
    assert (await world.vms())[0]["metadata"]["uid"] != before
    await world.settled()

    await kubectl("delete", "deployment/web", "--wait=true", "--timeout=60s")

    async def empty() -> bool:
        return not await world.vms() and not await world.pods(label_selector="app=web")

    await eventually(empty, "nothing left", seconds=90)


async def test_jobs_end_as_their_guests_do(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await kubectl.apply(
        job(world, "good", "fault.test/shutdown-after-1:1"), job(world, "bad", "fault.test/crash-after-1:1")
    )
    await kubectl("wait", "--for=condition=Complete", "job/good", "--timeout=90s")
    await kubectl("wait", "--for=condition=Failed", "job/bad", "--timeout=90s")
    good = await world.pods(label_selector="app=good")
    terminated = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in good]
    assert [(one["reason"], one["exitCode"]) for one in terminated] == [("Completed", 0)]
    failed = (await world.pods(label_selector="app=bad"))[0]["status"]
    assert failed["phase"] == "Failed"
    assert failed["containerStatuses"][0]["state"]["terminated"]["exitCode"] != 0


async def test_a_crashing_vm_is_restarted_and_counted(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("loop", container={"image": "fault.test/crash-after-1:1"}))

    async def counted() -> Json | None:
        pod = await world.get(PODS, "loop")
        assert pod is not None
        statuses = pod["status"].get("containerStatuses") or [{}]
        return pod if statuses[0].get("restartCount", 0) >= 1 and "lastState" in statuses[0] else None

    pod = await eventually(counted, "a restart counted", seconds=120)
    status = pod["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["containerID"].startswith("kubevirt://")
    assert status["lastState"]["terminated"]["containerID"] != status.get("containerID")
    assert len(await world.vms()) == 1


async def test_a_statefulset_ordinal_waits_for_its_predecessor(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    body = deployment(world, "db", 2)
    body |= {"kind": "StatefulSet", "spec": {**body["spec"], "serviceName": "db"}}
    await kubectl.apply(body, service("db"))
    await kubectl("rollout", "status", "statefulset/db", "--timeout=90s")
    names = {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()}
    assert set(names) == {"db-0", "db-1"}
    old = await world.get(PODS, "db-0")
    assert old is not None
    await kubectl("delete", "pod", "db-0", "--force", "--grace-period=0")

    async def replaced() -> bool:
        pod = await world.get(PODS, "db-0")
        if pod is None or pod["metadata"]["uid"] == old["metadata"]["uid"]:
            return False
        vms = [vm for vm in await world.vms() if vm["metadata"]["name"] == "db-0"]
        assert len(vms) <= 1
        return bool(vms) and vms[0]["metadata"]["uid"] != names["db-0"]

    await eventually(replaced, "db-0 replaced by a VM of its own", seconds=90)
    new = await world.ready("db-0", seconds=90)
    vm = await world.get(VIRTUALMACHINES, "db-0")
    assert vm is not None
    assert vm["metadata"]["labels"]["kubelet-bridge.io/pod-uid"] == new["metadata"]["uid"]
    after = {vm["metadata"]["name"]: vm["metadata"]["uid"] for vm in await world.vms()}
    assert after["db-1"] == names["db-1"]
    await world.settled()


async def test_a_bad_image_is_seen_where_users_look(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("pull", container={"image": "fault.test/pull-error:1"}))
    await world.create(PODS, world.pod("name", container={"image": "Not A Reference"}))

    async def waiting(name: str, reasons: set[str]) -> bool:
        pod = await world.get(PODS, name)
        assert pod is not None
        statuses = pod["status"].get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {}).get("reason") in reasons

    await eventually(lambda: waiting("pull", {"ErrImagePull", "ImagePullBackOff"}), "the pull error", seconds=90)
    await eventually(lambda: waiting("name", {"InvalidImageName"}), "the invalid name")
    described = await kubectl("describe", "pod", "name")
    assert "InvalidImageName" in described
    assert "Not A Reference" in described
    await world.client.delete(PODS, world.namespace, "pull")
    await world.client.delete(PODS, world.namespace, "name")
    await world.gone(PODS, "pull")
    await world.gone(PODS, "name")


async def test_what_cannot_be_a_vm_is_rejected_with_the_field(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("host", hostNetwork=True, hostPID=True))
    pod = await world.phase("host", "Failed")
    assert "spec.hostNetwork" in pod["status"]["message"]
    assert "spec.hostPID" in pod["status"]["message"]
    assert await world.vms() == []

    async def told() -> bool:
        return "spec.hostNetwork" in (await kubectl("describe", "pod", "host")).partition("Events:")[2]

    await eventually(told, "the reason as an event")
    await kubectl("delete", "pod", "host", "--timeout=30s")


async def test_a_quota_keeps_the_pod_pending_and_says_why(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    quota = {
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"count/virtualmachines.kubevirt.io": "0"}},
    }  # fmt: skip
    await kubectl.apply(quota)

    async def counted() -> bool:
        return "hard" in (await kubectl.json("get", "resourcequota", "none"))["status"]

    await eventually(counted, "the quota in force")
    await world.create(PODS, world.pod("one"))

    async def told() -> bool:
        pod = await world.get(PODS, "one")
        assert pod is not None
        return "exceeded quota" in str(pod["status"].get("containerStatuses"))

    await eventually(told, "the quota in the Pod's status")
    await kubectl("delete", "resourcequota", "none")
    await world.ready("one", seconds=120)


async def test_describe_reads_like_a_pod(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("one"))
    pod = await world.ready("one")
    status = pod["status"]["containerStatuses"][0]
    assert status["containerID"].startswith("kubevirt://")
    assert status["started"] is True
    assert status["allocatedResources"]
    assert status["resources"]
    kinds = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
    assert {kinds[kind] for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")} == {"True"}
    assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"]

    async def events() -> bool:
        reasons = (await kubectl("describe", "pod", "one")).partition("Events:")[2]
        return "Created" in reasons and "Started" in reasons

    await eventually(events, "Created and Started in describe")
    await kubectl("delete", "pod", "one", "--timeout=30s")
    listed = await kubectl("get", "events", "--field-selector=involvedObject.name=one")
    assert "Killing" in listed


async def test_a_vm_deleted_by_hand_comes_back(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    uid = (await world.vms())[0]["metadata"]["uid"]
    await kubectl("delete", "vm", "one", "--wait=true", "--timeout=60s")

    async def again() -> bool:
        pod = await world.get(PODS, "one")
        vms = await world.vms()
        assert pod is not None
        restarted = pod["status"]["containerStatuses"][0]["restartCount"] == 1
        return bool(vms) and vms[0]["metadata"]["uid"] != uid and restarted

    await eventually(again, "another VM, counted as a restart", seconds=90)


async def test_a_strangers_vm_of_the_same_name_is_left_alone(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    theirs = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "one"},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"architecture": "amd64", "domain": {
            "devices": {}, "memory": {"guest": "64Mi"}}}}},
    }  # fmt: skip
    stranger = await world.create(VIRTUALMACHINES, theirs)
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    kept = await world.get(VIRTUALMACHINES, "one")
    assert kept is not None
    assert kept["metadata"]["uid"] == stranger["metadata"]["uid"]
    assert "labels" not in kept["metadata"]
    await kubectl("delete", "pod", "one", "--timeout=60s")
    assert await world.get(VIRTUALMACHINES, "one") is not None


@pytest.mark.parametrize("grace", [0, 1], ids=["forced", "one second"])
async def test_a_shortened_grace_reaches_the_guest(world: World, bridge: Bridge, kubectl: Kubectl, grace: int) -> None:
    """The guest ignores its power button: only the grace period ends it."""
    await bridge.start()
    body = world.pod("deaf", terminationGracePeriodSeconds=600, container={"image": "fault.test/hang:1"})
    body["metadata"]["finalizers"] = ["example.test/keep"] if grace == 0 else []
    await world.create(PODS, body)
    await world.ready("deaf")
    await kubectl(
        "delete",
        "pod",
        "deaf",
        f"--grace-period={grace}",
        "--force=true" if grace == 0 else "--force=false",
        "--wait=false",
    )

    async def stopped() -> bool:
        return not await world.vms()

    await eventually(stopped, f"the VM gone; {bridge.tail()}", seconds=60)
    if grace == 0:

        async def over() -> bool:
            held = await world.get(PODS, "deaf")
            assert held is not None
            return held["status"]["phase"] in ("Failed", "Succeeded")

        await eventually(over, f"the Pod that is held is over; {bridge.tail()}")
        await kubectl("patch", "pod", "deaf", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]')
    await world.gone(PODS, "deaf")


async def test_a_grace_shortened_twice(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    body = world.pod("deaf", terminationGracePeriodSeconds=600, container={"image": "fault.test/hang:1"})
    await world.create(PODS, body)
    await world.ready("deaf")
    await kubectl("delete", "pod", "deaf", "--wait=false")

    async def deleting() -> bool:
        vms = await world.vms()
        return bool(vms) and "deletionTimestamp" in vms[0]["metadata"]

    await eventually(deleting, "the VM being deleted")
    await kubectl("delete", "pod", "deaf", "--grace-period=2", "--wait=false")
    await world.gone(PODS, "deaf", seconds=60)
    await world.settled()


async def test_force_deleted_pods_leave_no_vm(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    body = world.pod("deaf", terminationGracePeriodSeconds=600, container={"image": "fault.test/hang:1"})
    await world.create(PODS, body)
    await world.ready("deaf")
    await kubectl("delete", "pod", "deaf", "--grace-period=0", "--force")

    async def stopped() -> bool:
        return not await world.vms()

    await eventually(stopped, f"the VM gone; {bridge.tail()}", seconds=60)
