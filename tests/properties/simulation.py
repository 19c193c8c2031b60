"""A few lines of Kubernetes and KubeVirt behind the ports of ``reconcile``: what a plan leads to, without a cluster.

Not a fake API server: it has no requests, versions or watches. It holds what exists and moves it on, step by step.
"""

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists, Conflict
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.machine import Machine
from kubelet_bridge.model.meta import LABEL_CONTAINER, LABEL_POD_UID, PodKey
from kubelet_bridge.model.snapshot import Inputs, PodClaim, PodEvent, Snapshot, TokenWanted
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.reconcile.ports import GuestPort
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.syncloop import SyncLoop
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.hotplug import all_claims
from kubelet_bridge.translate.machines import part
from kubelet_bridge.translate.ownership import belongs

Json = dict[str, Any]
CONFIG = BridgeConfig(node_name="vnode")


class Crash(BaseException):
    """The process is gone: nothing may catch this."""


class Crasher:
    """Ends the process at the n-th write, before or after it took effect; 0: never."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after, self.count = at, after, 0

    def before(self) -> None:
        self.count += 1
        if self.count == self.at and not self.after:
            raise Crash

    def done(self) -> None:
        if self.count == self.at and self.after:
            raise Crash


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self) -> None:
        self.now += timedelta(seconds=1)


class Cluster:
    """Pods, VMs, instances and launchers as JSON, and the hands that move them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pods: dict[str, Json] = {}
        self.vms: dict[str, Json] = {}
        self.vmis: dict[str, Json] = {}
        self.launchers: dict[str, Json] = {}
        self.made: list[str] = []
        self.boots = 0
        self.claims: dict[str, PodClaim] = {}
        self.selected: dict[str, str] = {}
        self.plugged: list[str] = []
        self.unplugged: list[str] = []

    def stamp(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def add_pod(self, name: str, uid: str, **spec: Any) -> PodKey:
        self.pods[name] = {
            "metadata": {"name": name, "namespace": "n", "uid": uid, "generation": 1},
            "spec": {
                "nodeName": "vnode", "restartPolicy": "Always",
                "containers": [{"name": "c", "image": "a.test/disk:1"}], **spec,
            },
            "status": {"phase": "Pending"},
        }  # fmt: skip
        return PodKey("n", name, uid)

    def delete_pod(self, name: str, grace: int = 30) -> None:
        metadata = self.pods[name]["metadata"]
        metadata.setdefault("deletionTimestamp", self.stamp())
        metadata["deletionGracePeriodSeconds"] = grace

    def advance(self) -> bool:
        """One round of everybody else's controllers; whether anything moved."""
        before = copy.deepcopy((self.vms, self.vmis, self.launchers))
        self.clock.tick()
        for name, vm in list(self.vms.items()):
            self._advance_vm(name, vm)
        return before != (self.vms, self.vmis, self.launchers)

    def _advance_vm(self, name: str, vm: Json) -> None:
        vmi = self.vmis.get(name)
        if "deletionTimestamp" in vm["metadata"] or (vmi and "deletionTimestamp" in vmi["metadata"]):
            if self.launchers.pop(name, None) is None and self.vmis.pop(name, None) is None:
                self.vms.pop(name)
            return
        if vmi is None:
            self.boots += 1
            labels = vm["spec"]["template"]["metadata"]["labels"]
            self.vmis[name] = {
                "metadata": {"name": name, "namespace": "n", "uid": f"vmi-{self.boots}", "labels": labels},
                "status": {"phase": "Scheduling"},
            }  # fmt: skip
            self.launchers[name] = {
                "metadata": {
                    "name": f"virt-launcher-{name}", "namespace": "n", "uid": f"l-{self.boots}", "labels": labels,
                },
                "spec": {"nodeName": "real"}, "status": {"phase": "Running", "podIP": f"10.0.0.{self.boots}"},
            }  # fmt: skip
        elif vmi["status"]["phase"] == "Scheduling":
            vmi["status"] = {
                "phase": "Running", "nodeName": "real", "activePods": {f"l-{self.boots}": "real"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "phaseTransitionTimestamps": [{"phase": "Running", "phaseTransitionTimestamp": self.stamp()}],
            }  # fmt: skip
            vm["status"] = {"printableStatus": "Running", "created": True, "ready": True}
        else:
            _advance_disks(vm, vmi)


def _advance_disks(vm: Json, vmi: Json) -> None:
    """A disk is on its way for one round, both when it comes and when it goes."""
    volumes = vm["spec"]["template"]["spec"].get("volumes", [])
    wanted = {one["name"] for one in volumes if (one.get("persistentVolumeClaim") or {}).get("hotpluggable")}
    before = {one["name"]: one["phase"] for one in vmi["status"].get("volumeStatus", [])}
    now = {name: "Ready" if name in before else "AttachedToNode" for name in wanted}
    now |= {name: "Detaching" for name, phase in before.items() if name not in wanted and phase != "Detaching"}
    vmi["status"]["volumeStatus"] = [
        {"name": name, "phase": phase, "hotplugVolume": {}} for name, phase in sorted(now.items())
    ]


class Ports:
    """``ClusterPort``, ``IntentPort`` and ``EventPort`` over one Cluster; every write may be the last."""

    def __init__(self, cluster: Cluster, rows: dict[str, Intent], crasher: Crasher) -> None:
        self.cluster, self.rows, self.crasher = cluster, rows, crasher

    # The cluster.
    async def load(self, key: PodKey, *, vm_name: str, promised: bool) -> Snapshot:
        found = self.cluster.pods.get(key.owner.name)
        pod: Pod | None = _as(found, Pod) if found and found["metadata"]["uid"] == key.owner.uid else None
        machine: Machine | None = None
        if pod is not None and key.container:
            pod, machine = part(pod, key.container) or (None, None)
        named = self.cluster.vms.get(vm_name)
        vm = next((one for one in self.cluster.vms.values() if _belongs(one, key)), None)
        vmi = next((one for one in self.cluster.vmis.values() if _belongs(one, key)), None)
        return Snapshot(
            key=key, pod=pod, machine=machine,
            vm=_as(vm, VirtualMachine) if vm else None,
            squatter=_as(named, VirtualMachine) if named and not _belongs(named, key) else None,
            vmi=_as(vmi, VirtualMachineInstance) if vmi else None,
            launchers=[_as(one, Launcher) for one in self.cluster.launchers.values() if _belongs(one, key)],
        )  # fmt: skip

    def keys(self) -> Iterable[PodKey]:
        return []

    def containers(self, key: PodKey) -> set[str]:
        kinds = (self.cluster.vms, self.cluster.vmis, self.cluster.launchers)
        marks = [one["metadata"].get("labels", {}) for kind in kinds for one in kind.values()]
        return {one[LABEL_CONTAINER] for one in marks if one.get(LABEL_POD_UID) == key.uid and LABEL_CONTAINER in one}

    async def inputs(self, pod: Pod) -> Inputs:
        return Inputs(claims={name: self.cluster.claims.get(name) for name in all_claims(pod)})

    async def volumes(self, namespace: str, claims: Iterable[str]) -> dict[str, PersistentVolume]:
        return {}

    def give_back_disks(self, key: PodKey, claims: Iterable[str] | None = None) -> None:
        pass

    async def service_account_token(self, pod: Pod, wanted: TokenWanted) -> str | None:
        return None

    async def get_vm(self, namespace: str, name: str) -> VirtualMachine | None:
        vm = self.cluster.vms.get(name)
        return _as(vm, VirtualMachine) if vm else None

    async def take_disks(self, key: PodKey, wanted: Mapping[str, bool]) -> list[str]:
        return []

    async def apply_secret(self, namespace: str, manifest: Json) -> None:
        self.crasher.before()
        self.crasher.done()

    async def create_vm(self, namespace: str, manifest: Json) -> VirtualMachine:
        self.crasher.before()
        name = manifest["metadata"]["name"]
        if name in self.cluster.vms:
            raise AlreadyExists(409, "AlreadyExists", name)
        vm = copy.deepcopy(manifest)
        vm["metadata"] |= {"uid": f"vm-{len(self.cluster.made) + 1}", "namespace": "n"}
        vm["status"] = {"printableStatus": "Starting"}
        self.cluster.vms[name] = vm
        self.cluster.made.append(name)
        self.crasher.done()
        return _as(vm, VirtualMachine)

    async def apply_vm(self, namespace: str, manifest: Json, *, uid: str) -> VirtualMachine:
        self.crasher.before()
        vm = self.cluster.vms[manifest["metadata"]["name"]]
        if vm["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", "uid")
        vm["spec"] = copy.deepcopy(manifest["spec"])
        vm["metadata"]["annotations"] = copy.deepcopy(manifest["metadata"]["annotations"])
        self.crasher.done()
        return _as(vm, VirtualMachine)

    async def mark_vm(self, namespace: str, name: str, marks: Json, *, uid: str) -> VirtualMachine:
        self.crasher.before()
        vm = self.cluster.vms[name]
        if vm["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", "uid")
        for field, value in marks.items():
            has = vm["metadata"].get(field)
            vm["metadata"][field] = {**(has or {}), **value} if isinstance(value, dict) else value
        self.crasher.done()
        return _as(vm, VirtualMachine)

    async def plug(self, namespace: str, name: str, options: Json) -> VirtualMachine:
        self.crasher.before()
        vm = self.cluster.vms[name]
        spec = vm["spec"]["template"]["spec"]
        claim = options["volumeSource"]["persistentVolumeClaim"]["claimName"]
        sources = [one.get("persistentVolumeClaim", {}).get("claimName") for one in spec["volumes"]]
        if options["name"] in [one["name"] for one in spec["volumes"]] or claim in sources:
            raise Conflict(409, "Conflict", "already exists")
        spec["volumes"].append({"name": options["name"], **options["volumeSource"]})
        spec["domain"]["devices"]["disks"].append(options["disk"])
        self.cluster.plugged.append(options["name"])
        self.crasher.done()
        return _as(vm, VirtualMachine)

    async def unplug(self, namespace: str, name: str, disk: str) -> VirtualMachine:
        self.crasher.before()
        vm = self.cluster.vms[name]
        spec = vm["spec"]["template"]["spec"]
        if disk not in [one["name"] for one in spec["volumes"]]:
            raise Conflict(409, "Conflict", "does not exist")
        for where, field in ((spec, "volumes"), (spec["domain"]["devices"], "disks")):
            where[field] = [one for one in where[field] if one["name"] != disk]
        self.cluster.unplugged.append(disk)
        self.crasher.done()
        return _as(vm, VirtualMachine)

    async def select_node(self, namespace: str, claim: str, node: str, *, uid: str) -> None:
        self.crasher.before()
        self.cluster.selected[claim] = node
        self.crasher.done()

    async def stop_vm(self, namespace: str, name: str, *, grace: int) -> None:
        self.crasher.before()
        self.crasher.done()

    async def delete_vm(self, namespace: str, name: str, *, uid: str) -> None:
        self.crasher.before()
        if (vm := self.cluster.vms.get(name)) and vm["metadata"]["uid"] == uid:
            vm["metadata"]["deletionTimestamp"] = self.cluster.stamp()
        self.crasher.done()

    async def delete_vmi(self, namespace: str, name: str, *, uid: str) -> None:
        self.crasher.before()
        if (vmi := self.cluster.vmis.get(name)) and vmi["metadata"]["uid"] == uid:
            # Gone at once; KubeVirt starts the next one.
            self.cluster.vmis.pop(name)
            self.cluster.launchers.pop(name, None)
        self.crasher.done()

    async def patch_status(self, key: PodKey, patch: Json) -> Pod | None:
        self.crasher.before()
        pod = self.cluster.pods.get(key.name)
        if pod is None or pod["metadata"]["uid"] != key.uid:
            return None
        status = dict(patch["status"])
        for field in ("conditions", "podIPs", "hostIPs"):
            entries = [one for one in status.pop(field, []) if "$patch" not in one]
            identity = "type" if field == "conditions" else "ip"
            merged = {one[identity]: one for one in pod["status"].get(field, [])} if field == "conditions" else {}
            merged |= {one[identity]: _set(merged.get(one[identity], {}), one) for one in entries if identity in one}
            if merged:
                pod["status"][field] = list(merged.values())
        kept = {name: value for name, value in status.items() if not name.startswith("$")}
        pod["status"] = _set(pod["status"], kept)
        self.crasher.done()
        return _as(pod, Pod)

    async def delete_pod(self, key: PodKey) -> None:
        self.crasher.before()
        pod = self.cluster.pods.get(key.name)
        if pod is not None and pod["metadata"]["uid"] == key.uid:
            del self.cluster.pods[key.name]
        self.crasher.done()

    # The store.
    def get(self, uid: str) -> Intent | None:
        return self.rows.get(uid)

    def live(self) -> list[Intent]:
        return list(self.rows.values())

    def machines(self, uid: str) -> list[Intent]:
        return [one for one in self.rows.values() if one.pod_uid == uid]

    def new_id(self) -> str:
        return "dpl_00000000"

    async def save(self, intent: Intent, *, reason: str, now: datetime) -> None:
        self.crasher.before()
        self.rows[intent.uid] = intent
        self.crasher.done()

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        self.crasher.before()
        self.rows.pop(uid, None)
        self.crasher.done()

    # Events.
    def record(self, key: PodKey, events: Iterable[PodEvent]) -> None:
        list(events)


def _set(base: Json, changes: Json) -> Json:
    """What a patch leaves: null removes."""
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def _as(value: Json, kind: type[Any]) -> Any:
    return msgspec.convert(value, kind)


def _belongs(value: Json, key: PodKey) -> bool:
    labels = value["metadata"].get("labels", {})
    return labels.get(LABEL_POD_UID) == key.owner.uid and belongs(labels, key)


def process(
    cluster: Cluster, rows: dict[str, Intent], crasher: Crasher, *, config: BridgeConfig = CONFIG,
    guests: GuestPort | None = None,
) -> SyncLoop:  # fmt: skip
    """A daemon that has just started: it knows the rows, and the cluster through its ports."""
    ports = Ports(cluster, rows, crasher)
    status = StatusManager(ports, ports, host_ip="192.0.2.1")
    return SyncLoop(ports, ports, ports, status, config, clock=cluster.clock, guests=guests)
