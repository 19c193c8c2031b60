"""Disks that are plugged into a VM while it runs: what a Pod asks for by annotation, and what of it the VM has. Pure.

KubeVirt keeps such a disk in the VM's template, so that the next boot has it too. A disk that is ours says so itself,
by its ``tag``: it comes and goes with the disk in one write, so nothing has to be remembered beside it, and a disk that
somebody else has plugged in is never taken for ours.
"""

from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import is_dns_label, short_hash
from kubelet_bridge.model.snapshot import PodClaim
from kubelet_bridge.model.storage import AccessMode, BindingMode, ClaimPhase
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE, PROVISIONER
from kubelet_bridge.translate.annotations import HOTPLUG
from kubelet_bridge.translate.claims import Obstacle, behind, claim_names, is_raw
from kubelet_bridge.translate.vocabulary import Reason
from kubelet_bridge.translate.volumes import serial

TAG = "kubelet-bridge.io/hotplug"
"""Of the disks that are ours. A guest could see it only through a config drive, which our VMs do not have."""

MOST = 32
"""Disks that one Pod may ask for: KubeVirt has them all in one attachment Pod."""

_READ_ONLY = "readonly"
_LABEL = 63


class PlugBus(StrEnum):
    """What a disk can be plugged into (``ValidateHotplugDiskConfiguration`` in KubeVirt)."""

    SCSI = "scsi"
    VIRTIO = "virtio"


class Wanted(msgspec.Struct, frozen=True):
    """One disk as the Pod asks for it."""

    claim: str
    bus: PlugBus = PlugBus.SCSI
    read_only: bool = False

    @property
    def name(self) -> str:
        """Of the disk and its volume in the VM: the claim's, or one that fits and still tells two apart."""
        if is_dns_label(self.claim):
            return self.claim
        return f"{self.claim.replace('.', '-')[: _LABEL - 9]}-{short_hash(self.claim)}"

    @property
    def disk(self) -> dict[str, Any]:
        """The entry of ``domain.devices.disks``."""
        read_only = {"readonly": True} if self.read_only else {}
        return {
            "name": self.name,
            "disk": {"bus": self.bus.value, **read_only},
            "serial": serial(self.name),
            "tag": TAG,
        }


class Wish(msgspec.Struct, frozen=True):
    """All that a Pod asks for, and what of it cannot be understood, in words."""

    disks: list[Wanted]
    faults: list[str]


class NeedsNode(msgspec.Struct, frozen=True):
    """A claim of ours that waits for its first consumer, which is this VM: nobody else will say so."""

    claim: str
    uid: str


def wish(pod: Pod) -> Wish:
    """What the Pod's annotation says; an entry that is faulty asks for nothing."""
    disks: dict[str, Wanted] = {}
    faults: list[str] = []
    for entry in (one.strip() for one in pod.metadata.annotations.get(HOTPLUG, "").split(",")):
        if not entry:
            continue
        claim, *options = (one.strip() for one in entry.split(":"))
        if fault := _fault(claim, options, disks):
            faults.append(fault)
            continue
        buses = [PlugBus(one) for one in options if one != _READ_ONLY]
        disks[claim] = Wanted(claim, buses[0] if buses else PlugBus.SCSI, _READ_ONLY in options)
    return Wish(list(disks.values()), faults)


def all_claims(pod: Pod) -> list[str]:
    """The claims that the Pod names: its volumes', and those to be plugged in."""
    return [*claim_names(pod).values(), *(one.claim for one in wish(pod).disks)]


def _fault(claim: str, options: list[str], before: dict[str, Wanted]) -> str:
    buses = [one for one in options if one != _READ_ONLY]
    if not claim:
        return f"an entry of {HOTPLUG} names no claim"
    if unknown := [one for one in buses if one not in tuple(PlugBus)]:
        known = ", ".join((*PlugBus, _READ_ONLY))
        return f'"{claim}": {unknown[0]!r} is none of {known}: nothing else can be plugged in while a machine runs'
    if len(buses) > 1:
        return f'"{claim}": one bus at most'
    if claim in before:
        return f'"{claim}" is listed twice'
    return f'"{claim}" is one too many: {MOST} disks can be plugged in' if len(before) >= MOST else ""


def ours(vm: VirtualMachine) -> dict[str, dict[str, Any]]:
    """The disks in the VM that are ours, by name."""
    disks = vm.spec.template.spec.domain.devices.disks
    return {str(one.get("name")): one for one in disks if one.get("tag") == TAG}


def is_as_wanted(disk: dict[str, Any], wanted: Wanted) -> bool:
    """Whether a disk of ours is what the Pod asks for now; KubeVirt and we may have filled in more."""
    device = disk.get("disk") or {}
    return device.get("bus") == wanted.bus and bool(device.get("readonly")) == wanted.read_only


def real(wanted: Wanted, found: PodClaim | None, vm: VirtualMachine) -> str | NeedsNode | Obstacle:
    """The claim to plug in for one that is asked for, or what comes before that, or what stands in its way.

    A claim of another provisioner that waits for its first consumer is none of it: KubeVirt is that consumer.
    """
    if (clash := _clash(wanted, vm)) is not None:
        return clash
    if found is not None and found.claim.phase is not ClaimPhase.BOUND and (of := found.storage_class) is not None:
        waits = of.volume_binding_mode == BindingMode.WAIT_FOR_FIRST_CONSUMER
        if waits and of.provisioner != PROVISIONER and found.claim.phase is ClaimPhase.PENDING:
            return wanted.claim
        if (
            waits
            and of.provisioner == PROVISIONER
            and not found.claim.metadata.annotations.get(ANNOTATION_SELECTED_NODE)
        ):
            return NeedsNode(wanted.claim, found.claim.metadata.uid)
    claim = behind(wanted.claim, found)
    taken = {} if isinstance(claim, Obstacle) else _claims(vm)
    if isinstance(claim, str) and claim in taken:
        return _taken(f'persistentvolumeclaim "{wanted.claim}" is disk "{taken[claim]}" of the machine already')
    return claim


def _clash(wanted: Wanted, vm: VirtualMachine) -> Obstacle | None:
    spec = vm.spec.template.spec
    names = {str(one.get("name")) for one in (*spec.volumes, *spec.domain.devices.disks)}
    if wanted.name in names:
        return _taken(f'the machine has another disk "{wanted.name}"')
    serials = {one.get("serial") for one in spec.domain.devices.disks}
    if serial(wanted.name) in serials:  # guests find disks by it
        return _taken(f'the machine has another disk of the serial number "{serial(wanted.name)}"')
    return None


def _taken(text: str) -> Obstacle:
    return Obstacle("NameTaken", text, Reason.CREATE_CONTAINER_CONFIG_ERROR)


def _claims(vm: VirtualMachine) -> dict[str, str]:
    """By name of the claim, the volume of the VM that it is."""
    sources = (
        (one, one.get("persistentVolumeClaim") or one.get("dataVolume") or {}) for one in vm.spec.template.spec.volumes
    )
    return {
        str(source.get("claimName") or source.get("name")): str(one.get("name")) for one, source in sources if source
    }


def options(wanted: Wanted, claim: str) -> dict[str, Any]:
    """KubeVirt's ``AddVolumeOptions``, which ask for the claim to be plugged in."""
    read_only = {"readOnly": True} if wanted.read_only else {}
    source = {"claimName": claim, "hotpluggable": True, **read_only}
    return {"name": wanted.name, "disk": wanted.disk, "volumeSource": {"persistentVolumeClaim": source}}


def alone(wanted: Wanted, claim: str, found: PodClaim | None) -> dict[str, bool]:
    """The claim, if only one VM may write to it at a time, with whether this one only reads (as ``claims.alone``)."""
    shared = found is not None and AccessMode.READ_WRITE_MANY in found.claim.spec.access_modes
    return {} if shared and is_raw(found) else {claim: wanted.read_only}


def carried(machine: dict[str, Any], vm: VirtualMachine) -> dict[str, Any]:
    """The manifest ``machine``, to be applied to ``vm``, with what was plugged into that, by whomever.

    Applying a list replaces it: without this, an unrelated change would unplug every disk.
    """
    spec, there = machine["spec"]["template"]["spec"], vm.spec.template.spec
    known = {one["name"] for one in spec["volumes"]}
    volumes = [one for one in there.volumes if _is_pluggable(one) and one.get("name") not in known]
    names = {one.get("name") for one in volumes}
    disks = [one for one in there.domain.devices.disks if one.get("name") in names]
    devices = {**spec["domain"]["devices"], "disks": [*spec["domain"]["devices"]["disks"], *disks]}
    template = {
        **machine["spec"]["template"],
        "spec": {**spec, "domain": {**spec["domain"], "devices": devices}, "volumes": [*spec["volumes"], *volumes]},
    }
    return {**machine, "spec": {**machine["spec"], "template": template}}


def _is_pluggable(volume: dict[str, Any]) -> bool:
    source = volume.get("persistentVolumeClaim") or volume.get("dataVolume") or {}
    return source.get("hotpluggable") is True
