"""The cluster as one virtual node sees it: Pods, VMs, instances, launchers, cached; and the writes of a Pod's life."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists, Conflict, Invalid, NotFound, Transient
from kubelet_bridge.kube import outages, overheads
from kubelet_bridge.kube.claimusers import CLAIM_INDEX, ClaimUsers, by_claim
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.disks import DiskReader
from kubelet_bridge.kube.disksizes import DiskSizes
from kubelet_bridge.kube.diskturns import DiskTurns
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.inputs import InputReader
from kubelet_bridge.kube.known import patch_known
from kubelet_bridge.kube.outages import by_outage
from kubelet_bridge.kube.overheads import by_overhead
from kubelet_bridge.kube.tokens import TokenRequester
from kubelet_bridge.kube.uids import by_pod_uid, by_uid
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Disk, Origin, Shelf
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.machine import Machine
from kubelet_bridge.model.meta import (
    ANNOTATION_POD_NAME,
    FIELD_MANAGER,
    LABEL_CONTAINER,
    LABEL_NODE,
    LABEL_POD_NAME,
    LABEL_POD_UID,
    ObjectHead,
    PodKey,
    label_value,
)
from kubelet_bridge.model.resources import (
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SECRETS,
    VIRTUALMACHINEINSTANCES,
    VIRTUALMACHINES,
    VM_SUBRESOURCES,
)
from kubelet_bridge.model.snapshot import Inputs, Snapshot, TokenWanted
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE
from kubelet_bridge.translate.catalogue.golden import LABEL_IMAGE
from kubelet_bridge.translate.machines import part
from kubelet_bridge.translate.ownership import belongs

_POD = msgspec.json.Decoder(Pod)
_VM = msgspec.json.Decoder(VirtualMachine)
_VMI = msgspec.json.Decoder(VirtualMachineInstance)
_LAUNCHER = msgspec.json.Decoder(Launcher)
_HEAD = msgspec.json.Decoder(ObjectHead)


class NodeView:
    """Four informers and the requests around them. Satisfies ``reconcile.ports.ClusterPort``.

    Attributes:
        claim_users: the VMs that have a claim.
        unfilled: in words, how far those of a Pod's disks are that are not filled yet.
        lost: in words, what became of those that are lost.
        disks_known: whether that can be told yet.
        imported: told how each request for the import of an image ended: ``begun``, ``exists`` or ``error``.
    """

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        ours = f"{LABEL_NODE}={label_value(node_name)}"
        indexers = {"pod-uid": by_pod_uid}
        machines = {**indexers, CLAIM_INDEX: by_claim}
        self.pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={node_name}",
            indexers={"uid": by_uid, outages.INDEX: by_outage, overheads.INDEX: by_overhead},
        )  # fmt: skip
        self.vms = Informer(client, VIRTUALMACHINES, label_selector=ours, indexers=machines)
        self.vmis = Informer(client, VIRTUALMACHINEINSTANCES, label_selector=ours, indexers=machines)
        self.launchers = Informer(
            client, PODS, label_selector=f"{ours},kubevirt.io=virt-launcher", indexers=indexers
        )  # fmt: skip
        self.unfilled: Callable[[Pod, PodKey], list[str]] = lambda *_: []
        self.lost: Callable[[Pod], list[str]] = lambda _: []
        self.disks_known: Callable[[], bool] = lambda: True
        self.imported: Callable[[str], None] = lambda _: None
        self._inputs = InputReader(client)
        self._tokens = TokenRequester(client)
        self._disks = DiskReader(client)
        self.claim_users = ClaimUsers(self.vms, self.vmis)
        self._turns = DiskTurns(client, node_name, self.claim_users, self.pods, self.vmis)
        self._sizes = DiskSizes(client)

    @property
    def informers(self) -> list[Informer]:
        """Every informer, to be run."""
        return [self.pods, self.vms, self.vmis, self.launchers]

    @property
    def stale_since(self) -> datetime | None:
        """Since when something of the cluster could not be followed; None when all of it can be."""
        return min((one.stale_since for one in self.informers if one.stale_since is not None), default=None)

    def uncounted(self) -> int:
        """How many VMs take memory beside the guest's that no Pod's ``overhead`` tells the scheduler."""
        return max(0, len(self.vms) - len(self.pods.by_index(overheads.INDEX, "memory")))

    async def wait_synced(self) -> None:
        """Return once every cache has had its first list."""
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))

    def subscribe(self, enqueue: Callable[[PodKey], None]) -> None:
        """Call ``enqueue`` with the key of each Pod that a change is about."""

        def pod_changed(_: EventKind, cached: Cached) -> None:
            enqueue(_own_key(cached.head))

        def part_changed(_: EventKind, cached: Cached) -> None:
            if (key := self.key_of(cached.head)) is not None:
                enqueue(key)

        def vm_changed(kind: EventKind, cached: Cached) -> None:
            part_changed(kind, cached)
            # A Pod of the same name may be waiting for this VM to be gone.
            waiting = self.pods.get(cached.head.namespace, cached.head.name)
            if kind is EventKind.DELETED and waiting is not None:
                enqueue(_own_key(waiting.head))

        self.pods.subscribe(pod_changed)
        self.vms.subscribe(vm_changed)
        self.vmis.subscribe(part_changed)
        self.launchers.subscribe(part_changed)

    def key_of(self, head: ObjectHead) -> PodKey | None:
        """The Pod that a VM, instance or launcher belongs to; None for one that names no Pod's uid.

        By its label, or, should somebody have removed that, by its owner.
        """
        owners = (owner.uid for owner in head.metadata.owner_references if owner.kind == "Pod")
        uid = head.labels.get(LABEL_POD_UID) or next(owners, "")
        if not uid:
            return None
        if pods := self.pods.by_index("uid", uid):
            return _own_key(pods[0].head)
        named = [head, *(vm.head for vm in self.vms.by_index("pod-uid", uid))]
        names = [one.metadata.annotations.get(ANNOTATION_POD_NAME) for one in named]
        name = next((name for name in names if name), head.labels.get(LABEL_POD_NAME, ""))
        return PodKey(head.namespace, name, uid) if name else None

    def keys(self) -> Iterable[PodKey]:
        """Every Pod incarnation that anything cached speaks of."""
        found = {_own_key(pod.head) for pod in self.pods.all()}
        for informer in (self.vms, self.vmis, self.launchers):
            found |= {key for cached in informer.all() if (key := self.key_of(cached.head)) is not None}
        return found

    async def load(self, key: PodKey, *, vm_name: str, promised: bool) -> Snapshot:
        """See ``ClusterPort.load``."""
        vms, vmis, launchers = (self._belonging(one, key) for one in (self.vms, self.vmis, self.launchers))
        pod = await self._pod(key.owner, ask=promised or bool(vms or vmis or launchers))
        machine: Machine | None = None
        if key.container and pod is not None:
            pod, machine = part(pod, key.container) or (None, None)
        named = self.vms.get(key.namespace, vm_name)
        squatter = named if named is not None and not belongs(named.head.labels, key) else None
        vms.sort(key=lambda one: one.head.name != vm_name)  # one that was given our label by mistake has another name
        found = [_LAUNCHER.decode(one.raw) for one in launchers]
        return Snapshot(
            key=key, pod=pod, machine=machine,
            vm=_VM.decode(vms[0].raw) if vms else None,
            squatter=_VM.decode(squatter.raw) if squatter else None,
            vmi=_VMI.decode(_newest(vmis).raw) if vmis else None,
            launchers=[one for one in found if one.status.phase not in ("Succeeded", "Failed")] or found,
            disks=self.unfilled(pod, key) if pod is not None else [],
            lost=self.lost(pod) if pod is not None else [],
        )  # fmt: skip

    def containers(self, key: PodKey) -> set[str]:
        """See ``ClusterPort.containers``."""
        kinds = (self.vms, self.vmis, self.launchers)
        marks = (
            one.head.labels.get(LABEL_CONTAINER, "") for kind in kinds for one in kind.by_index("pod-uid", key.uid)
        )
        return {container for container in marks if container}

    def _belonging(self, kind: Informer, key: PodKey) -> list[Cached]:
        return [one for one in kind.by_index("pod-uid", key.owner.uid) if belongs(one.head.labels, key)]

    async def _pod(self, key: PodKey, *, ask: bool) -> Pod | None:
        cached = self.pods.get(key.namespace, key.name)
        if cached is not None and cached.head.uid == key.uid:
            return _POD.decode(cached.raw)
        if not ask:
            return None
        try:
            raw = await self._client.get(PODS, key.namespace, key.name)
        except NotFound:
            return None
        found = _POD.decode(raw)
        return found if found.metadata.uid == key.uid else None

    async def inputs(self, pod: Pod) -> Inputs:
        """See ``ClusterPort.inputs``."""
        return await self._inputs.read(pod)

    async def volumes(self, namespace: str, claims: Iterable[str]) -> dict[str, PersistentVolume]:
        """See ``ClusterPort.volumes``."""
        return await self._inputs.volumes(namespace, claims)

    def give_back_disks(self, key: PodKey, claims: Iterable[str] | None = None) -> None:
        """See ``ClusterPort.give_back_disks``."""
        self._turns.give_back(key, claims)

    async def service_account_token(self, pod: Pod, wanted: TokenWanted) -> str | None:
        """See ``ClusterPort.service_account_token``."""
        return await self._tokens.token(pod, wanted)

    async def get_vm(self, namespace: str, name: str) -> VirtualMachine | None:
        """See ``ClusterPort.get_vm``."""
        try:
            return _VM.decode(await self._client.get(VIRTUALMACHINES, namespace, name))
        except NotFound:
            return None

    async def get_disk(self, namespace: str, name: str) -> Disk | None:
        """See ``ClusterPort.get_disk``."""
        return await self._disks.get(namespace, name)

    async def create_disk(self, namespace: str, manifest: dict[str, Any]) -> None:
        """See ``ClusterPort.create_disk``."""
        result = "error"
        try:
            await self._disks.create(namespace, manifest)
            result = "begun"
        except AlreadyExists:
            result = "exists"
            raise
        finally:
            if LABEL_IMAGE in manifest["metadata"]["labels"]:
                self.imported(result)

    async def shelf(self, namespaces: Iterable[str]) -> Shelf:
        """See ``ClusterPort.shelf``."""
        return await self._disks.shelf(namespaces)

    async def origin_size(self, origin: Origin) -> int:
        """See ``ClusterPort.origin_size``."""
        return await self._sizes.of(origin)

    async def take_disks(self, key: PodKey, wanted: Mapping[str, bool]) -> list[str]:
        """See ``ClusterPort.take_disks``."""
        if wanted and not self.disks_known():  # one that is lost would be taken for a new one
            raise Transient("it is not known yet what became of the disks", reason="DisksUnknown")
        return await self._turns.take(key, wanted)

    async def apply_secret(self, namespace: str, manifest: dict[str, Any]) -> None:
        """See ``ClusterPort.apply_secret``."""
        await self._client.apply(SECRETS, namespace, manifest["metadata"]["name"], manifest)

    async def create_vm(self, namespace: str, manifest: dict[str, Any]) -> VirtualMachine:
        """See ``ClusterPort.create_vm``."""
        raw = await self._client.request(
            "POST", VIRTUALMACHINES.path(namespace), body=msgspec.json.encode(manifest),
            params={"fieldManager": FIELD_MANAGER}, label=("create", VIRTUALMACHINES.plural),
        )  # fmt: skip
        return _VM.decode(self.vms.learn(raw).raw)

    async def apply_vm(self, namespace: str, manifest: dict[str, Any], *, uid: str) -> VirtualMachine:
        """See ``ClusterPort.apply_vm``."""
        body = {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}
        raw = await self._client.apply(VIRTUALMACHINES, namespace, manifest["metadata"]["name"], body)
        return _VM.decode(self.vms.learn(raw).raw)

    async def mark_vm(self, namespace: str, name: str, marks: dict[str, Any], *, uid: str) -> VirtualMachine:
        """See ``ClusterPort.mark_vm``."""
        body = {"metadata": {**marks, "uid": uid}}
        raw = await self._client.patch(VIRTUALMACHINES, namespace, name, body, kind=PatchType.MERGE)
        return _VM.decode(self.vms.learn(raw).raw)

    async def plug(self, namespace: str, name: str, options: dict[str, Any]) -> VirtualMachine:
        """See ``ClusterPort.plug``."""
        return await self._act_on(namespace, name, "addvolume", options)

    async def unplug(self, namespace: str, name: str, disk: str) -> VirtualMachine:
        """See ``ClusterPort.unplug``."""
        return await self._act_on(namespace, name, "removevolume", {"name": disk})

    async def _act_on(self, namespace: str, name: str, action: str, options: dict[str, Any]) -> VirtualMachine:
        """The VM as the action left it: virt-api writes it, and answers without it."""
        await self._client.request(
            "PUT", VM_SUBRESOURCES.path(namespace, name, action), body=msgspec.json.encode(options),
            headers={"Accept": "*/*"}, label=("replace", f"virtualmachines/{action}"),
        )  # fmt: skip
        return _VM.decode(self.vms.learn(await self._client.get(VIRTUALMACHINES, namespace, name)).raw)

    async def select_node(self, namespace: str, claim: str, node: str, *, uid: str) -> None:
        """See ``ClusterPort.select_node``."""
        body = {"metadata": {"uid": uid, "annotations": {ANNOTATION_SELECTED_NODE: node}}}
        try:
            await self._client.patch(PERSISTENTVOLUMECLAIMS, namespace, claim, body, kind=PatchType.MERGE)
        except (NotFound, Conflict):
            return
        except Invalid as error:
            if "metadata.uid" not in error.message:
                raise

    async def stop_vm(self, namespace: str, name: str, *, grace: int) -> None:
        """See ``ClusterPort.stop_vm``. KubeVirt first writes the grace into the instance; then it may answer 409."""
        try:
            await self._client.request(
                "PUT", VM_SUBRESOURCES.path(namespace, name, "stop"), body=msgspec.json.encode({"gracePeriod": grace}),
                headers={"Accept": "*/*"},  # virt-api answers 406 to a client that insists on JSON
                label=("replace", "virtualmachines/stop"),
            )  # fmt: skip
        except (NotFound, Conflict):
            return

    async def delete_vm(self, namespace: str, name: str, *, uid: str) -> None:
        """See ``ClusterPort.delete_vm``."""
        try:
            await self._client.delete(VIRTUALMACHINES, namespace, name, uid=uid)
        except (NotFound, Conflict):
            return

    async def delete_vmi(self, namespace: str, name: str, *, uid: str) -> None:
        """See ``ClusterPort.delete_vmi``."""
        try:
            await self._client.delete(VIRTUALMACHINEINSTANCES, namespace, name, uid=uid)
        except (NotFound, Conflict):
            return

    async def patch_status(self, key: PodKey, patch: dict[str, Any]) -> Pod | None:
        """See ``ClusterPort.patch_status``."""
        raw = await patch_known(
            self._client, PODS, key.namespace, key.name, patch, kind=PatchType.STRATEGIC, subresource="status"
        )
        return None if raw is None else _POD.decode(self.pods.learn(raw).raw)

    async def delete_pod(self, key: PodKey) -> None:
        """See ``ClusterPort.delete_pod``."""
        try:
            raw = await self._client.delete(PODS, key.namespace, key.name, uid=key.uid, grace_seconds=0)
        except (NotFound, Conflict):
            return
        if _HEAD.decode(raw).metadata.finalizers:
            self.pods.learn(raw)
        else:
            self.pods.unlearn(key.namespace, key.name, uid=key.uid)


def _own_key(head: ObjectHead) -> PodKey:
    return PodKey(head.namespace, head.name, head.uid)


def _newest(objects: list[Cached]) -> Cached:
    """The one made last; objects without a time (there are none in practice) come first."""
    return max(objects, key=lambda one: (str(one.head.metadata.creation_timestamp or ""), one.head.uid))
