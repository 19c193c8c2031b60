"""Who has a claim as a disk, and what is posted on a claim."""

import asyncio
from typing import Any, cast

import msgspec

from kubelet_bridge.kube.claimants import Claimants
from kubelet_bridge.kube.claimusers import CLAIM_INDEX, ClaimUsers, by_claim
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.eventrecorder import EventRecorder
from kubelet_bridge.kube.informer import Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.resources import PODS, VIRTUALMACHINES, Resource
from kubelet_bridge.model.snapshot import EventType, PodEvent
from tests.support.volumes import KEY, NOW


async def test_both_ways_to_have_a_claim_count() -> None:
    vms = Informer(cast("Client", None), VIRTUALMACHINES, indexers={CLAIM_INDEX: by_claim})
    users = ClaimUsers(vms)
    for number, volume in enumerate(
        (
            {"persistentVolumeClaim": {"claimName": "data"}}, {"dataVolume": {"name": "data"}},
            {"persistentVolumeClaim": {"claimName": "other"}}, {"emptyDisk": {"capacity": "1Gi"}},
        )
    ):  # fmt: skip
        metadata = {"name": f"vm-{number}", "namespace": "shop", "uid": str(number), "resourceVersion": "1"}
        spec = {"template": {"spec": {"volumes": [{"name": "disk", **volume}]}}}
        vms.learn(msgspec.json.encode({"metadata": metadata, "spec": spec}))
    assert users.names("shop", "data") == ["vm-0", "vm-1"]
    assert users.names("elsewhere", "data") == []
    vms.unlearn("shop", "vm-0", uid="0")
    assert users.names("shop", "data") == ["vm-1"]
    vms.learn(
        msgspec.json.encode({"metadata": {"name": "vm-1", "namespace": "shop", "uid": "1", "resourceVersion": "2"}})
    )
    assert users.names("shop", "data") == []


async def test_the_pods_that_name_a_claim_are_known_while_they_are_there() -> None:
    pods = Informer(cast("Client", None), PODS)
    claimants = Claimants(pods)
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]
    for name in ("web-0", "web-1"):
        metadata = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"}
        cached = pods.learn(msgspec.json.encode({"metadata": metadata, "spec": {"volumes": volumes}}))
        for handler in pods._handlers:  # as the watch will
            handler(EventKind.ADDED, cached)
    assert [key.name for key in claimants.of("shop", "data")] == ["web-0", "web-1"]
    assert claimants.of("elsewhere", "data") == []
    for name in ("web-0", "web-1"):
        gone = pods.get("shop", name)
        assert gone is not None
        pods._handlers[0](EventKind.DELETED, gone)
    assert claimants.of("shop", "data") == []
    assert not claimants._pods


class Server:
    def __init__(self) -> None:
        self.posted: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def create(self, _resource: Resource, _namespace: str, body: dict[str, Any]) -> bytes:
        self.posted.put_nowait(body)
        return b"{}"


async def test_an_event_on_a_claim_is_about_the_claim() -> None:
    server = Server()
    recorder = EventRecorder(cast("Client", server), "vnode", clock=lambda: NOW)
    recorder.record_on_claim(KEY, [PodEvent(EventType.WARNING, "VolumeLost", "gone")])
    running = asyncio.get_running_loop().create_task(recorder.run())
    try:
        event = await server.posted.get()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": KEY.uid}
    assert (event["involvedObject"], event["reason"], event["message"]) == (about, "VolumeLost", "gone")
