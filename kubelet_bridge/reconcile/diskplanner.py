"""What to do next about the disks of a VM that runs. Pure."""

from collections.abc import Iterable

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import DiskPlaces, Intent
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.snapshot import Inputs, Snapshot
from kubelet_bridge.reconcile.actions import LookAtVolumes, LookUp, Plan, Plug, Record, SelectNode, Unplug
from kubelet_bridge.translate import hotplug, hotplugstate, pinning
from kubelet_bridge.translate.hotplug import Wanted


def look_after_disks(snapshot: Snapshot, pod: Pod, intent: Intent, node: str) -> Plan | None:
    """The next step; None when there is nothing to do about disks. ``node`` is ours."""
    vm, vmi = snapshot.vm, snapshot.vmi
    if vm is None or vmi is None or vmi.phase is not VmiPhase.RUNNING or vmi.metadata.deletion_timestamp is not None:
        return None
    if not snapshot.key.container and (planned := _plug(snapshot, pod, vm, vmi, node)) is not None:
        return planned
    return _tell(intent, vm, vmi) or _places(snapshot, intent, vmi)


def _plug(snapshot: Snapshot, pod: Pod, vm: VirtualMachine, vmi: VirtualMachineInstance, node: str) -> Plan | None:
    """First out, then in; one that is to change its bus goes out and comes back. What was just refused waits."""
    has, wanted = hotplug.ours(vm), {one.name: one for one in hotplug.wish(pod).disks}
    for name, disk in has.items():
        stays = name in wanted and hotplug.is_as_wanted(disk, wanted[name])
        if not stays and name not in snapshot.unplugged:
            return Plan(step=Unplug(vm.metadata.name, name))
    leaving = hotplugstate.leaving(vmi, vm)
    missing = [one for name, one in wanted.items() if name not in has and name not in snapshot.unplugged]
    missing = [one for one in missing if one.name not in leaving]
    if missing and snapshot.inputs is None:
        return Plan(step=LookUp())
    return _in(missing, snapshot.inputs or Inputs(), vm, node)


def _in(missing: Iterable[Wanted], inputs: Inputs, vm: VirtualMachine, node: str) -> Plan | None:
    for one in missing:
        found = inputs.claims.get(one.claim)
        match hotplug.real(one, found, vm):
            case str(claim):
                alone = hotplug.alone(one, claim, found)
                return Plan(step=Plug(vm.metadata.name, one.name, hotplug.options(one, claim), alone))
            case hotplug.NeedsNode(claim, uid):
                return Plan(step=SelectNode(claim, uid, node))
            case _:
                continue
    return None


def _tell(intent: Intent, vm: VirtualMachine, vmi: VirtualMachineInstance) -> Plan | None:
    """Write down what the guest has, with an event. What it had before a restart it need not be told of again."""
    now, has, seen = hotplugstate.attached(vmi, vm), hotplug.ours(vm), hotplugstate.plugged(vmi)
    attached = sorted({*now, *(name for name in intent.attached if name in has or name in seen)})
    if attached == intent.attached:
        return None
    return Plan(step=Record(msgspec.structs.replace(intent, attached=attached), "DisksChanged"))


def _places(snapshot: Snapshot, intent: Intent, vmi: VirtualMachineInstance) -> Plan | None:
    """Once per boot, and whenever a disk has come or gone: a PersistentVolume's nodes never change."""
    occasion = pinning.occasion(vmi)
    claims = pinning.claims(vmi)
    if occasion == intent.disk_places.occasion or not (claims or intent.disk_places.pinned):
        return None
    if claims and snapshot.volumes is None:
        return Plan(step=LookAtVolumes(tuple(sorted({*claims.values()}))))
    seen = DiskPlaces(occasion, pinning.pinned(vmi, snapshot.volumes or {}))
    return Plan(step=Record(msgspec.structs.replace(intent, disk_places=seen), "DisksSeen"))
