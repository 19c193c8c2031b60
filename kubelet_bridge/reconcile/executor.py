"""Carries out one step of a plan through the ports, and returns what is known afterwards."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, assert_never

import msgspec

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Transient
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent, Snapshot
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.reconcile import rootdisks
from kubelet_bridge.reconcile.actions import (
    Accept,
    Claim,
    ConfirmVm,
    Create,
    DeleteVm,
    FinalizePod,
    Forget,
    LookAtVolumes,
    LookUp,
    MakeRootDisk,
    Plug,
    Record,
    ReplaceInstance,
    SelectNode,
    Step,
    StopVm,
    Unplug,
    Update,
)
from kubelet_bridge.reconcile.ports import Clock, ClusterPort, EventPort, GuestPort, IntentPort
from kubelet_bridge.translate.hotplug import carried, ours
from kubelet_bridge.translate.machines import told
from kubelet_bridge.translate.ownership import belongs
from kubelet_bridge.translate.virtualmachine import DEFAULT_GRACE, Manifests

_WRITES = (
    "accept",
    "record",
    "root-disk",
    "secret",
    "create",
    "update",
    "claim",
    "plug",
    "unplug",
    "select-node",
    "replace",
    "stop",
    "delete-vm",
    "finalize",
    "forget",
)
_BEFORE = {name: failpoints.declare(f"executor.{name}.before") for name in _WRITES}
_AFTER = {name: failpoints.declare(f"executor.{name}.after") for name in _WRITES}


@contextlib.contextmanager
def _write(name: str) -> Iterator[None]:
    _BEFORE[name].hit()
    yield
    _AFTER[name].hit()


class World(msgspec.Struct, frozen=True):
    """What the planner looks at: the snapshot, and whether a GET has just shown that there is no VM of ours."""

    snapshot: Snapshot
    vm_absent: bool = False

    def but(self, **changes: Any) -> "World":
        """The same world with a changed snapshot."""
        return World(msgspec.structs.replace(self.snapshot, **changes), self.vm_absent)


class Executor:
    """Performs steps; knows nothing of when to perform which."""

    def __init__(
        self, cluster: ClusterPort, intents: IntentPort, events: EventPort, guests: GuestPort, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._intents = intents
        self._events = events
        self._guests = guests
        self._clock = clock

    async def run(self, world: World, step: Step) -> World:
        """Perform ``step`` and return the world with what it changed.

        Raises:
            BridgeError: it did not succeed; performing it again is safe.
        """
        key = world.snapshot.key
        match step:
            case Accept(intent):
                self._say(world.snapshot, _announcements(world.snapshot, intent, "Accepted"))
                return await self._save(world, "accept", intent, "Accepted")
            case Record(intent, reason):
                self._say(world.snapshot, _announcements(world.snapshot, intent, reason))
                return await self._save(world, "record", intent, reason)
            case LookUp():
                return await self._look_up(world)
            case LookAtVolumes(claims):
                return world.but(volumes=await self._volumes(key.namespace, claims))
            case Plug():
                return await self._plug(world, step)
            case Unplug():
                return await self._asked(world, step)
            case SelectNode(claim, uid, node):
                with _write("select-node"):
                    await self._cluster.select_node(key.namespace, claim, node, uid=uid)
                return world.but(inputs=None)
            case ConfirmVm(name):
                return await self._confirm(world, name)
            case MakeRootDisk():
                return await self._make_root_disk(world, step)
            case Create(manifests):
                return await self._create(world, manifests)
            case Update(manifests, vm_uid):
                return await self._update(world, manifests, vm_uid)
            case Claim(name, uid, marks):
                with _write("claim"):
                    vm = await self._cluster.mark_vm(key.namespace, name, marks, uid=uid)
                return world.but(vm=vm)
            case ReplaceInstance(name, uid):
                with _write("replace"):
                    await self._cluster.delete_vmi(key.namespace, name, uid=uid)
                return world.but(vmi=None)
            case StopVm(intent, grace):
                self._hurry(world.snapshot, grace)
                with _write("stop"):
                    await self._cluster.stop_vm(key.namespace, intent.vm_name, grace=grace)
                return await self._save(world, "record", intent, "GraceChanged")
            case DeleteVm(name, uid):
                self._shut_down(world.snapshot)
                with _write("delete-vm"):
                    await self._cluster.delete_vm(key.namespace, name, uid=uid)
                return world.but(vm=self._deleting(world.snapshot.vm))
            case FinalizePod():
                with _write("finalize"):
                    await self._cluster.delete_pod(key)
                return world.but(pod=None)
            case Forget(reason):
                await self._guests.forget(key.uid)
                with _write("forget"):
                    await self._intents.destroy(key.uid, reason=reason, now=self._clock())
                self._cluster.give_back_disks(key)
                return world.but(intent=None)
            case _:
                assert_never(step)

    def _say(self, snapshot: Snapshot, events: list[PodEvent]) -> None:
        self._events.record(snapshot.key, told(snapshot, events))

    async def _look_up(self, world: World) -> World:
        pod = world.snapshot.pod
        if pod is None:
            return world
        try:
            return world.but(inputs=await self._cluster.inputs(pod))
        except Forbidden as error:  # that lasts until somebody grants it: the Pod is taken, and says what is missing
            return world.but(inputs=Inputs(unreadable=error.message))

    async def _volumes(self, namespace: str, claims: Iterable[str]) -> dict[str, PersistentVolume]:
        try:
            return await self._cluster.volumes(namespace, claims)
        except Forbidden:  # what is not known about a disk keeps no VM from running
            return {}

    async def _save(self, world: World, name: str, intent: Intent, reason: str) -> World:
        with _write(name):
            await self._intents.save(intent, reason=reason, now=self._clock())
        return world.but(intent=intent)

    async def _confirm(self, world: World, name: str) -> World:
        vm = await self._cluster.get_vm(world.snapshot.key.namespace, name)
        if vm is not None and _is_ours(vm, world.snapshot):
            return world.but(vm=vm)
        return World(msgspec.structs.replace(world.snapshot, squatter=vm), vm_absent=True)

    async def _make_root_disk(self, world: World, step: MakeRootDisk) -> World:
        pod = world.snapshot.pod
        if pod is None:
            return world
        with _write("root-disk"):
            made = await rootdisks.prepare(self._cluster, pod, world.snapshot.key, step)
        return world.but(root_disk=made)

    async def _create(self, world: World, manifests: Manifests) -> World:
        snapshot = world.snapshot
        namespace, name = snapshot.key.namespace, manifests.virtual_machine["metadata"]["name"]
        if contended := await self._cluster.take_disks(snapshot.key, manifests.alone):
            return world.but(contended=contended)
        with _write("secret"):
            await self._cluster.apply_secret(namespace, manifests.secret)
        try:
            with _write("create"):
                vm = await self._cluster.create_vm(namespace, manifests.virtual_machine)
        except AlreadyExists:
            # An earlier try whose answer was lost, or somebody else's VM. Server-side apply could not tell: it would
            # have taken the other one over.
            vm_there = await self._cluster.get_vm(namespace, name)
            if vm_there is None:
                raise Transient(f"virtual machine {name} went away while it was looked at", reason="Gone") from None
            if not _is_ours(vm_there, snapshot):
                return world.but(squatter=vm_there)
            vm = vm_there
        self._say(snapshot, manifests.notes)
        return world.but(vm=vm)

    async def _plug(self, world: World, step: Plug) -> World:
        key, tried = world.snapshot.key, world.snapshot.unplugged
        if contended := await self._cluster.take_disks(key, step.alone):
            return world.but(unplugged={**tried, step.name: "; ".join(contended)})
        done = await self._asked(world, step)
        self._cluster.give_back_disks(key, step.alone)  # the VM has it, or was refused it
        return done

    async def _asked(self, world: World, step: Plug | Unplug) -> World:
        """A refusal is for the Pod to show: the machine runs, and everything else about it goes on."""
        namespace, tried = world.snapshot.key.namespace, world.snapshot.unplugged
        vm: VirtualMachine | None
        try:
            if isinstance(step, Plug):
                with _write("plug"):
                    vm = await self._cluster.plug(namespace, step.vm, step.options)
            else:
                with _write("unplug"):
                    vm = await self._cluster.unplug(namespace, step.vm, step.name)
            words = ""  # a KubeVirt that plugs by request has noted it down, and would refuse a second one
        except Conflict as error:  # an earlier try whose answer was lost, or somebody else's disk
            vm, words = await self._cluster.get_vm(namespace, step.vm), error.message
        except (Forbidden, Invalid, NotFound) as error:
            vm, words = world.snapshot.vm, error.message
        if vm is not None and isinstance(step, Plug) == (step.name in ours(vm)):
            return world.but(vm=vm)
        return world.but(unplugged={**tried, step.name: words})

    async def _update(self, world: World, manifests: Manifests, vm_uid: str) -> World:
        namespace = world.snapshot.key.namespace
        with _write("secret"):
            await self._cluster.apply_secret(namespace, manifests.secret)
        there = world.snapshot.vm
        machine = manifests.virtual_machine if there is None else carried(manifests.virtual_machine, there)
        with _write("update"):
            vm = await self._cluster.apply_vm(namespace, machine, uid=vm_uid)
        return world.but(vm=vm)

    def _shut_down(self, snapshot: Snapshot) -> None:
        """Before the VM is deleted: its guest has the whole grace period to end its containers in order."""
        intent = snapshot.intent
        if intent is None:
            return
        grace = DEFAULT_GRACE if intent.deletion_grace is None else intent.deletion_grace
        self._guests.shut_down(snapshot.key.uid, grace=grace, reason=intent.outcome_reason or "Killing")

    def _hurry(self, snapshot: Snapshot, grace: int) -> None:
        """The guest is being shut down already, and gets less time for the rest."""
        if snapshot.vm is not None and snapshot.vm.metadata.deletion_timestamp is not None:
            self._guests.shut_down(snapshot.key.uid, grace=grace, reason="Killing")

    def _deleting(self, vm: VirtualMachine | None) -> VirtualMachine | None:
        if vm is None:
            return None
        metadata = msgspec.structs.replace(vm.metadata, deletion_timestamp=self._clock())
        return msgspec.structs.replace(vm, metadata=metadata)


def _is_ours(vm: VirtualMachine, snapshot: Snapshot) -> bool:
    """By its label, or, should somebody have removed that, by the row or the owner."""
    if belongs(vm.metadata.labels, snapshot.key):
        return True
    recorded = snapshot.intent is not None and vm.metadata.uid == snapshot.intent.vm_uid
    return recorded or any(owner.uid == snapshot.key.owner.uid for owner in vm.metadata.owner_references)


def _announcements(snapshot: Snapshot, intent: Intent, reason: str) -> list[PodEvent]:
    pod = snapshot.pod
    if pod is None:
        return []
    if reason == "Accepted" and intent.rejected:
        return [PodEvent(EventType.WARNING, intent.outcome_reason, intent.outcome_message)]
    if reason == "PodDeleted" and intent.vm_uid:
        return [
            PodEvent(
                EventType.NORMAL, "Killing", f"Stopping container {one.name}", f"spec.containers{{{one.name}}}"
            )
            for one in pod.spec.containers
        ]  # fmt: skip
    if reason == "DisksChanged":
        return _plugged(snapshot.intent.attached if snapshot.intent is not None else [], intent.attached)
    if reason == "VolumeLost":
        return [PodEvent(EventType.WARNING, reason, intent.outcome_message)]
    if reason == "VirtualMachineVanished":
        message = f"Virtual machine {intent.vm_name} was deleted by somebody else"
        return [PodEvent(EventType.WARNING, "VirtualMachineVanished", message)]
    if reason == "NameTaken":
        message = (
            f"A virtual machine {pod.metadata.name} that is not this Pod's exists; using the name {intent.vm_name}"
        )
        return [PodEvent(EventType.WARNING, "NameTaken", message)]
    return []


def _plugged(before: list[str], after: list[str]) -> list[PodEvent]:
    came = [f'The virtual machine has disk "{name}"' for name in after if name not in before]
    went = [f'The virtual machine has let disk "{name}" go' for name in before if name not in after]
    return [
        *(PodEvent(EventType.NORMAL, "AttachedVolume", text) for text in came),
        *(PodEvent(EventType.NORMAL, "DetachedVolume", text) for text in went),
    ]
