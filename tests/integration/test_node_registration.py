"""Our Node and its Lease on a real API server, without the daemon around them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.errors import ApiError, Conflict, Invalid, NotFound, Terminal
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.nodes import LEASE_NAMESPACE, NodeObjects
from kubelet_bridge.model.resources import LEASES, NODES
from kubelet_bridge.node.identity import NodeIdentity
from kubelet_bridge.node.lease import NodeLease
from kubelet_bridge.node.ports import ReadyState
from kubelet_bridge.node.registration import Registration
from tests.support.bridge import condition, decoded, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(90)]

Json = dict[str, Any]


class Impersonating(Client):
    """A client that acts as a kubelet of its own node, to which NodeRestriction applies."""

    user = ""

    async def request(self, *args: Any, headers: Any = None, **rest: Any) -> bytes:
        whom = {"Impersonate-User": f"system:node:{self.user}", "Impersonate-Group": "system:nodes"}
        return await super().request(*args, headers={**(headers or {}), **whom}, **rest)


class Subject:
    """A registration, what it is told, and the writes it makes."""

    def __init__(self, client: Client) -> None:
        self.name = f"reg-{uuid.uuid4().hex[:8]}"
        self.client = client
        self.objects = NodeObjects(client, self.name)
        self.state = ReadyState(ready=True, reason="KubeletReady", message="takes Pods")
        self.capacity: Json = {"cpu": "4", "memory": "1024Mi", "pods": "10"}
        self.addresses = [{"type": "InternalIP", "address": "10.9.9.1"}, {"type": "InternalIP", "address": "fd00:9::1"}]
        self.written = 0

    def status(self, _now: datetime) -> Json:
        return {
            "capacity": self.capacity, "allocatable": self.capacity, "addresses": self.addresses,
            "conditions": [{"type": "DiskPressure", "status": "False", "reason": "Fine", "message": "fine"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "v1.36.0-kubelet-bridge-0", "kubeProxyVersion": "",
                "operatingSystem": "linux", "architecture": "amd64",
            },
            "declaredFeatures": [],
        }  # fmt: skip

    async def get_node(self) -> bytes:
        return await self.objects.get_node()

    async def create_node(self, node: object) -> bytes:
        return await self.objects.create_node(node)

    async def patch_node(self, patch: object) -> bytes:
        return await self.objects.patch_node(patch)

    async def patch_node_status(self, patch: object) -> bytes:
        self.written += 1
        return await self.objects.patch_node_status(patch)

    def registration(self, **settings: Any) -> Registration:
        identity = NodeIdentity(name=self.name, labels={"team": "a"})
        return Registration(self, identity, status=self.status, ready=lambda: self.state, **settings)

    async def node(self) -> Json:
        found: Json = decoded(await self.objects.get_node())
        return found

    async def patch(self, patch: Json, subresource: str | None = None) -> None:
        await self.client.patch(NODES, None, self.name, patch, kind=PatchType.STRATEGIC, subresource=subresource)

    async def remove(self) -> None:
        for resource, namespace in ((NODES, None), (LEASES, LEASE_NAMESPACE)):
            with suppress(NotFound):
                await self.client.delete(resource, namespace, self.name)


@pytest.fixture
async def subject(admin: Client) -> AsyncIterator[Subject]:
    one = Subject(admin)
    yield one
    await one.remove()


async def settled(registration: Registration) -> None:
    """One good turn: kube-controller-manager writes taints too, and then it takes another."""
    while True:
        with suppress(Conflict):
            return await registration.sync()


@asynccontextmanager
async def running(run: Callable[[], Any]) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        yield task
        task.cancel()


async def test_created_marked_and_ready(subject: Subject) -> None:
    await subject.registration().sync()
    node = await subject.node()
    assert node["metadata"]["labels"].items() >= {"type": "virtual-kubelet", "team": "a"}.items()
    assert {"key": "virtual-kubelet.io/provider", "value": "kubevirt", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert condition(node, "Ready") == "True"
    assert node["status"]["addresses"] == subject.addresses
    assert node["status"]["capacity"]["memory"] == "1Gi"


async def test_nothing_changed_nothing_is_written(subject: Subject) -> None:
    registration = subject.registration()
    await registration.sync()
    before, written = await subject.node(), subject.written
    for _ in range(3):
        await registration.sync()
    assert subject.written == written
    assert (await subject.node())["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_change_of_ours_is_written_and_a_resource_can_go(subject: Subject) -> None:
    registration = subject.registration()
    subject.capacity = {"cpu": "4", "example.org/gpu": "1"}
    await registration.sync()
    await subject.patch({"status": {"capacity": {"example.org/theirs": "2"}}}, "status")
    subject.capacity = {"cpu": "8"}
    subject.addresses.pop()
    await registration.sync()
    status = (await subject.node())["status"]
    assert status["capacity"] == {"cpu": "8", "example.org/theirs": "2"}
    assert status["addresses"] == subject.addresses


async def test_what_others_wrote_over_ours_is_mended_and_the_rest_kept(subject: Subject) -> None:
    registration = subject.registration()
    await registration.sync()
    theirs = {"type": "Custom", "status": "True", "reason": "Theirs", "message": ""}
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting"}
    await subject.patch({"status": {"conditions": [theirs, lost]}}, "status")
    await subject.patch({"metadata": {"labels": {"theirs": "1"}}})
    await registration.sync()
    node = await subject.node()
    assert (condition(node, "Ready"), condition(node, "Custom")) == ("True", "True")
    assert node["metadata"]["labels"]["theirs"] == "1"


async def test_a_heartbeat_is_written_in_its_turn(subject: Subject) -> None:
    registration = subject.registration(report_every=0.0)
    await registration.sync()
    written = subject.written
    await registration.sync()
    assert subject.written == written + 1


async def test_a_transition_keeps_its_time_until_the_next(subject: Subject) -> None:
    registration = subject.registration(report_every=0.0)
    await registration.sync()

    async def since() -> str:
        conditions = (await subject.node())["status"]["conditions"]
        found: str = next(one["lastTransitionTime"] for one in conditions if one["type"] == "Ready")
        return found

    first = await since()
    await asyncio.sleep(1.1)
    await registration.sync()
    assert await since() == first
    subject.state = ReadyState(ready=False, reason="Starting", message="")
    await registration.sync()
    assert await since() > first


async def test_a_deleted_node_comes_back(subject: Subject, admin: Client) -> None:
    registration = subject.registration()
    async with registration, running(registration.run):
        await registration.registered.wait()
        first = registration.uid
        await admin.delete(NODES, None, subject.name)
        registration.poke()

        async def back() -> bool:
            with suppress(NotFound):
                return (await subject.node())["metadata"]["uid"] not in ("", first)
            return False

        await eventually(back, "a new Node")

    assert registration.uid != first


async def test_leaving_says_not_ready_and_why(subject: Subject) -> None:
    registration = subject.registration()
    async with registration:
        await registration.sync()
        taints = (await subject.node())["spec"]["taints"]
    node = await subject.node()
    (ready,) = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "KubeletBridgeStopped")
    assert condition(node, "DiskPressure") == "False"
    assert {one["key"] for one in taints} <= {one["key"] for one in node["spec"]["taints"]}


async def test_adopted_after_a_restart(subject: Subject) -> None:
    await subject.registration().sync()
    await subject.patch({"metadata": {"labels": {"team": None, "theirs": "1"}}})
    before = await subject.node()
    await settled(subject.registration())
    node = await subject.node()
    assert node["metadata"]["uid"] == before["metadata"]["uid"]
    assert node["metadata"]["labels"].items() >= {"team": "a", "theirs": "1"}.items()


async def test_a_node_made_by_hand_is_adopted(subject: Subject, admin: Client) -> None:
    await admin.create(NODES, None, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": subject.name}})
    await settled(subject.registration())
    assert condition(await subject.node(), "Ready") == "True"


async def test_a_real_kubelets_node_is_refused_and_left_alone(subject: Subject, admin: Client) -> None:
    status = subject.status(datetime.now(UTC))
    status["nodeInfo"]["kubeletVersion"] = "v1.36.3"
    manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": subject.name}, "status": status}
    await admin.create(NODES, None, manifest)
    before = await subject.node()
    registration = subject.registration()
    with pytest.raises(Terminal, match="another kubelet"):
        async with registration:
            await registration.run()
    node = await subject.node()
    assert (node["metadata"].get("labels"), node["status"]) == (before["metadata"].get("labels"), before["status"])


async def test_a_node_that_was_replaced_is_not_written_to(subject: Subject) -> None:
    registration = subject.registration()
    await registration.sync()
    with pytest.raises(Invalid, match="uid"):
        await subject.objects.patch_node_status(
            {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "status": {"capacity": {"cpu": "1"}}}
        )


async def test_an_api_server_that_is_away_is_waited_for(subject: Subject) -> None:
    registration, answers = (
        subject.registration(interval=0.05),
        [ApiError(500, "Broken", "no"), ApiError(0, "", "away")],
    )
    get = subject.get_node

    async def sometimes() -> bytes:
        if answers:
            raise answers.pop()
        return await get()

    subject.get_node = sometimes  # type: ignore[method-assign]
    async with registration, running(registration.run):
        await registration.registered.wait()
    assert not answers


async def test_under_a_nodes_own_identity(dev_cluster: DevCluster, admin: Client) -> None:
    loaded = await credentials.load(dev_cluster.layout.kubeconfig("super-admin"))
    async with Impersonating(loaded) as client:
        one = Subject(client)
        client.user = one.name
        try:
            await one.registration().sync()
            node = await one.node()
            assert "kubernetes.io/role" not in node["metadata"]["labels"]
            assert node["metadata"]["labels"]["type"] == "virtual-kubelet"
            assert "virtual-kubelet.io/provider" in [taint["key"] for taint in node["spec"]["taints"]]
            assert condition(node, "Ready") == "True"
            await admin.patch(
                NODES, None, one.name, {"metadata": {"labels": {"team": None}}, "spec": {"taints": []}},
                kind=PatchType.MERGE,
            )  # fmt: skip
            again = one.registration()
            await settled(again)
            assert (await one.node())["metadata"]["labels"]["team"] == "a"
            lease = NodeLease(one.objects, one.name, node_uid=lambda: again.uid)
            await lease.renew()
            await lease.renew()
        finally:
            await Subject.remove(_as(one, admin))


def _as(subject: Subject, client: Client) -> Subject:
    subject.client = client
    return subject


async def test_a_lease_is_created_renewed_and_belongs_to_the_node(subject: Subject, admin: Client) -> None:
    registration = subject.registration()
    await registration.sync()
    lease = NodeLease(subject.objects, subject.name, node_uid=lambda: registration.uid)
    await lease.renew()
    first = decoded(await subject.objects.get_lease())
    await lease.renew()
    second = decoded(await subject.objects.get_lease())
    assert first["spec"]["holderIdentity"] == subject.name
    assert first["spec"]["leaseDurationSeconds"] == 40
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
    assert [owner["uid"] for owner in second["metadata"]["ownerReferences"]] == [registration.uid]
    assert lease.renewed_at is not None


async def test_a_lease_survives_strangers_and_deletion(subject: Subject, admin: Client) -> None:
    lease = NodeLease(subject.objects, subject.name)
    await lease.renew()
    theirs = {"metadata": {"labels": {"theirs": "1"}}, "spec": {"holderIdentity": "x"}}
    await admin.patch(LEASES, LEASE_NAMESPACE, subject.name, theirs, kind=PatchType.MERGE)
    await lease.renew()
    found = decoded(await subject.objects.get_lease())
    assert (found["spec"]["holderIdentity"], found["metadata"]["labels"]) == (subject.name, {"theirs": "1"})
    await admin.delete(LEASES, LEASE_NAMESPACE, subject.name)
    await lease.renew()
    assert decoded(await subject.objects.get_lease())["metadata"]["uid"] != found["metadata"]["uid"]


async def test_renewing_never_stops(subject: Subject) -> None:
    faults, renewed = [ApiError(500, "Broken", "no"), ApiError(0, "", "away"), TimeoutError()], asyncio.Event()
    replace = subject.objects.replace_lease

    async def sometimes(lease: object) -> bytes:
        if faults:
            raise faults.pop()
        renewed.set()
        return await replace(lease)

    subject.objects.replace_lease = sometimes  # type: ignore[method-assign]
    lease = NodeLease(subject.objects, subject.name, interval=0.05)
    async with running(lease.run):
        await renewed.wait()
    assert msgspec.json.decode(await subject.objects.get_lease())["spec"]["holderIdentity"] == subject.name
