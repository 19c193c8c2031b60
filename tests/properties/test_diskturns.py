"""Pods with one claim, worked on at once, crashed, deleted: never do two virtual machines have it at a time."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import ApiUnavailable, BridgeError
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Informer
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Inputs, Snapshot
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.syncloop import SyncLoop
from tests.properties.simulation import CONFIG, Cluster, Crash, Crasher, Ports
from tests.support.pods import bound_claim

ROUNDS = 36
NAMES = ("a", "b", "c")
VOLUMES = [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]

Json = dict[str, Any]


class NobodyElse:
    """There are no instances of other nodes, and it takes a while to hear so."""

    async def list(self, *_: Any, **__: Any) -> bytes:
        await asyncio.sleep(0)
        return b'{"items": []}'


class Sharing(Ports):
    """Every answer takes a while, so that syncs cross; some answers to a POST are lost, and its VM is seen late."""

    def __init__(self, cluster: Cluster, rows: dict[str, Intent], crasher: Crasher, lost: frozenset[int]) -> None:
        super().__init__(cluster, rows, crasher)
        self._view = NodeView(cast("Client", NobodyElse()), "vnode")
        self._view.disks_known = lambda: True
        self._lost, self._posts = lost, 0
        self._unseen: dict[str, int] = {}
        self._version = 0
        self.watch()

    def watch(self) -> None:
        """What the informers have heard of since."""
        self._unseen = {name: left - 1 for name, left in self._unseen.items() if left > 1}
        spec = {"volumes": VOLUMES}
        vmis = {name: {**vmi, "spec": spec} for name, vmi in self.cluster.vmis.items() if name not in self._unseen}
        vms = {name: vm for name, vm in self.cluster.vms.items() if name not in self._unseen}
        for informer, things in (
            (self._view.pods, self.cluster.pods), (self._view.vms, vms), (self._view.vmis, vmis),
        ):  # fmt: skip
            self._mirror(informer, things)

    def _mirror(self, informer: Informer, things: Mapping[str, Json]) -> None:
        for cached in informer.all():
            if things.get(cached.head.name, {}).get("metadata", {}).get("uid") != cached.head.uid:
                informer.unlearn(cached.head.namespace, cached.head.name, uid=cached.head.uid)
        for thing in things.values():
            self._version += 1
            metadata = {**thing["metadata"], "resourceVersion": str(self._version)}
            informer.learn(msgspec.json.encode({**thing, "metadata": metadata}))

    async def load(self, key: PodKey, *, vm_name: str, promised: bool) -> Snapshot:
        await asyncio.sleep(0)
        found = await super().load(key, vm_name=vm_name, promised=promised)
        return msgspec.structs.replace(found, vm=None) if vm_name in self._unseen else found

    async def inputs(self, pod: Pod) -> Inputs:
        await asyncio.sleep(0)
        return Inputs(claims={"data": bound_claim("data")})

    async def take_disks(self, key: PodKey, wanted: Mapping[str, bool]) -> list[str]:
        assert list(wanted) == ["data"]
        return await self._view.take_disks(key, wanted)

    def give_back_disks(self, key: PodKey, claims: Iterable[str] | None = None) -> None:
        self._view.give_back_disks(key, claims)

    def _may_write(self, name: str) -> bool:
        """A VM that is going, and of whose instance nothing is left, starts no other."""
        going = "deletionTimestamp" in self.cluster.vms[name]["metadata"]
        return not going or name in self.cluster.vmis or name in self.cluster.launchers

    async def create_vm(self, namespace: str, manifest: Json) -> VirtualMachine:
        name = manifest["metadata"]["name"]
        await asyncio.sleep(0)
        self._unseen[name] = 4
        made = await super().create_vm(namespace, manifest)
        others = [one for one in self.cluster.vms if one != name and self._may_write(one)]
        assert not others, f"{name} was given the disk of {others}"
        self._posts += 1
        await asyncio.sleep(0)
        if self._posts in self._lost:
            raise ApiUnavailable(503, "NoAnswer", "no answer")
        del self._unseen[name]
        self.watch()
        return made


class World:
    """All Pods of one claim, synced at once in every round; a process that dies is followed by the next."""

    def __init__(self, crashes: list[tuple[int, bool]], lost: frozenset[int]) -> None:
        self.cluster = Cluster()
        self._rows: dict[str, Intent] = {}
        self._todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
        self._lost = lost
        self._keys = [self.cluster.add_pod(name, f"uid-{name}", volumes=VOLUMES) for name in NAMES]
        self._begin()

    def _begin(self) -> None:
        self._ports = Sharing(self.cluster, self._rows, self._todo.pop(0), self._lost)
        ports = self._ports
        status = StatusManager(ports, ports, host_ip="192.0.2.1")
        self._loop = SyncLoop(ports, ports, ports, status, CONFIG, clock=self.cluster.clock)

    async def run(self, acts: list[tuple[int, str, str]]) -> Cluster:
        for number in range(ROUNDS):
            for when, name, what in acts:
                if when == number:
                    act(self.cluster, name, what)
            self._ports.watch()
            if any(await asyncio.gather(*map(self._died, self._keys))):
                self._begin()
            self.cluster.advance()
        return self.cluster

    async def _died(self, key: PodKey) -> bool:
        try:
            await self._loop.sync(key)
        except BridgeError:
            return False
        except Crash:
            return True
        return False


def act(cluster: Cluster, name: str, what: str) -> None:
    match what:
        case "delete" if name in cluster.pods:
            cluster.delete_pod(name, 1)
        case "force" if name in cluster.pods:
            del cluster.pods[name]
        case "vm deleted" if name in cluster.vms:
            cluster.vms[name]["metadata"]["deletionTimestamp"] = cluster.stamp()


ACTS = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(NAMES), st.sampled_from(["delete", "force", "vm deleted"])),
    max_size=4,
)
CRASHES = st.lists(st.tuples(st.integers(1, 14), st.booleans()), max_size=3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(ACTS, CRASHES, st.frozensets(st.integers(1, 4), max_size=2))
async def test_no_two_machines_have_one_disk_and_somebody_has_it(
    acts: list[tuple[int, str, str]], crashes: list[tuple[int, bool]], lost: frozenset[int]
) -> None:
    cluster = await World(crashes, lost).run(acts)
    assert len(cluster.vms) == (1 if cluster.pods else 0)


async def test_the_next_one_begins_when_the_first_is_gone() -> None:
    cluster = await World([], frozenset()).run([(8, "a", "delete"), (20, "b", "delete")])
    assert cluster.made == ["a", "b", "c"]
    assert set(cluster.pods) == {"c"}


async def test_a_pod_deleted_by_force_while_its_machine_is_asked_for_keeps_the_next_one_waiting() -> None:
    cluster = await World([], frozenset({1})).run([(1, "a", "force")])
    assert cluster.made == ["a", "b"]


async def test_who_waits_says_for_whom() -> None:
    cluster = await World([], frozenset()).run([])
    assert cluster.made == ["a"]
    waiting = msgspec.convert(cluster.pods["b"], Pod).status.container_statuses[0].state.waiting
    assert waiting is not None
    assert "already used by virtual machine a" in waiting.message
