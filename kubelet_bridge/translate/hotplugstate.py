"""How far the disks are that a Pod wants plugged into its running VM, as a condition of the Pod. Pure."""

from collections.abc import Iterator

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance, VolumeStatus
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import hotplug
from kubelet_bridge.translate.claims import Obstacle
from kubelet_bridge.translate.hotplug import Wanted
from kubelet_bridge.translate.launcher import complaint, find
from kubelet_bridge.translate.vocabulary import PodCondition, Reason

_READY = "Ready"
_HOTPLUG_ERROR = "HotPlugVolumeError"
_FAILURES = ("Failed", "Error", "NotFound")


class _Disk(msgspec.Struct, frozen=True):
    """One disk, in words; those of one that is there are only its name."""

    words: str
    there: bool = False
    failed: bool = False


def plugged(vmi: VirtualMachineInstance) -> dict[str, VolumeStatus]:
    """What KubeVirt says of each disk that came to the running machine."""
    return {one.name: one for one in vmi.status.volume_status if one.hotplug_volume is not None}


def attached(vmi: VirtualMachineInstance, vm: VirtualMachine) -> list[str]:
    """The disks of ours that the guest has."""
    ready = {name for name, one in plugged(vmi).items() if one.phase == _READY}
    return sorted(ready & hotplug.ours(vm).keys())


def leaving(vmi: VirtualMachineInstance, vm: VirtualMachine) -> set[str]:
    """The disks that the VM is to have no more, whoever's they were, and that have not gone yet."""
    return plugged(vmi).keys() - {str(one.get("name")) for one in vm.spec.template.spec.domain.devices.disks}


def condition(snapshot: Snapshot, pod: Pod) -> Condition | None:
    """None where nothing is wanted and nothing ever was; as it was where not enough is known now."""
    vm, vmi, former = snapshot.vm, snapshot.vmi, find(pod.status.conditions, PodCondition.DISKS_PLUGGED)
    if vm is None or vmi is None or snapshot.key.container:
        return former
    wish = hotplug.wish(pod)
    known = snapshot.intent.attached if snapshot.intent is not None else []
    if not (wish.disks or wish.faults or hotplug.ours(vm) or known or former):
        return None
    unseen = snapshot.inputs is None and any(one.name not in hotplug.ours(vm) for one in wish.disks)
    if unseen and former is not None:
        return former
    disks = [*(_Disk(words, failed=True) for words in wish.faults), *_disks(snapshot, wish.disks, vm, vmi)]
    return _together(disks)


def _together(disks: list[_Disk]) -> Condition:
    type_, under_way = PodCondition.DISKS_PLUGGED.value, [one for one in disks if not one.there]
    there = ", ".join(one.words for one in disks if one.there) or "none"
    if not under_way:
        return Condition(type_, "True", Reason.PLUGGED.value, f"plugged in: {there}")
    failed = [one for one in under_way if one.failed]
    reason = Reason.FAILED_ATTACH_VOLUME if failed else Reason.PLUGGING
    return Condition(type_, "False", reason.value, "; ".join(one.words for one in failed or under_way))


def _disks(
    snapshot: Snapshot, wanted: list[Wanted], vm: VirtualMachine, vmi: VirtualMachineInstance
) -> Iterator[_Disk]:
    has, statuses = hotplug.ours(vm), plugged(vmi)
    for one in wanted:
        if refusal := snapshot.unplugged.get(one.name):
            yield _Disk(f'"{one.claim}": {refusal}', failed=True)
        elif one.name in has:
            yield _on_its_way(one, statuses.get(one.name))
        elif one.name not in leaving(vmi, vm):
            yield _awaited(one, snapshot, vm)
    names = {one.name for one in wanted}
    known = set(snapshot.intent.attached) if snapshot.intent is not None else set()
    for name in sorted((has.keys() | (known & statuses.keys())) - (names & has.keys())):
        yield _leaving(name, snapshot, statuses.get(name))
    yield from _complaints(vm, vmi)


def _on_its_way(wanted: Wanted, status: VolumeStatus | None) -> _Disk:
    if status is None:
        return _Disk(f'"{wanted.claim}" is being plugged in')
    if status.phase == _READY:
        return _Disk(wanted.claim, there=True)
    failed = any(word in status.reason for word in _FAILURES)
    said = status.message or status.reason
    return _Disk(f'"{wanted.claim}" {status.phase or "is being plugged in"}{": " if said else ""}{said}', failed=failed)


def _awaited(wanted: Wanted, snapshot: Snapshot, vm: VirtualMachine) -> _Disk:
    if snapshot.inputs is None:
        return _Disk(f'"{wanted.claim}" is to be plugged in')
    if snapshot.inputs.unreadable:
        return _Disk(snapshot.inputs.unreadable, failed=True)
    claim = snapshot.inputs.claims.get(wanted.claim)
    found = hotplug.real(wanted, claim, vm)
    if not isinstance(found, Obstacle):
        return _Disk(f'"{wanted.claim}" is to be plugged in')
    binding = claim is not None and found.waiting is Reason.CONTAINER_CREATING
    return _Disk(found.text, failed=not binding)


def _leaving(name: str, snapshot: Snapshot, status: VolumeStatus | None) -> _Disk:
    if refusal := snapshot.unplugged.get(name):
        return _Disk(f'"{name}": {refusal}', failed=True)
    said = f": {status.message}" if status is not None and status.phase != _READY and status.message else ""
    return _Disk(f'"{name}" is being unplugged{said}')


def _complaints(vm: VirtualMachine, vmi: VirtualMachineInstance) -> Iterator[_Disk]:
    """What KubeVirt says of the machine as a whole while it plugs: which disk it is about, only its words tell."""
    failure = find(vm.status.conditions, "Failure")
    if failure is not None and failure.status == "True" and failure.reason == _HOTPLUG_ERROR:
        yield _Disk(failure.message, failed=True)
    if (unsynchronized := complaint(vmi.status.conditions, "Synchronized")) is not None:
        yield _Disk(unsynchronized.message, failed=True)
