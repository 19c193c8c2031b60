"""Everything that is known about one Pod at one moment: what the planner decides from and the status is made of."""

from enum import StrEnum

import msgspec

from kubelet_bridge.model.core import ConfigMap, Pod, Secret, Service
from kubelet_bridge.model.goldenimage import RootDisk
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.machine import Machine
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, StorageClass


class EventType(StrEnum):
    """``type`` of a core/v1 Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


class PodEvent(msgspec.Struct, frozen=True):
    """An event to record on the Pod; one of a container has the ``field_path`` ``spec.containers{name}``."""

    type: EventType
    reason: str
    message: str
    field_path: str = ""


class TokenWanted(msgspec.Struct, frozen=True):
    """A ServiceAccount's token as a projected volume asks for it; an empty audience is the API server's own."""

    audience: str = ""
    expiration_seconds: int = 3600


class PodClaim(msgspec.Struct, frozen=True):
    """A claim that a Pod names, and what stands behind it, as far as it is there.

    ``storage_class`` is that of a claim which is not bound; ``datavolume`` and ``real`` are the
    DataVolume behind a disk of ours, and the claim that CDI made for that.
    """

    claim: PersistentVolumeClaim
    volume: PersistentVolume | None = None
    storage_class: StorageClass | None = None
    datavolume: DataVolume | None = None
    real: PersistentVolumeClaim | None = None


class Inputs(msgspec.Struct, frozen=True):
    """What a Pod's spec points at, by name, within its namespace. A name that maps to None was looked for in vain.

    ``tokens`` are those of the Pod's ServiceAccount; None is one that the API server does not give.
    ``services`` are the namespace's Services and ``default/kubernetes`` (for service environment variables).
    ``unreadable`` says what we may not read; then nothing else of it counts.
    """

    config_maps: dict[str, ConfigMap | None] = {}
    secrets: dict[str, Secret | None] = {}
    services: list[Service] = []
    tokens: dict[TokenWanted, str | None] = {}
    claims: dict[str, PodClaim | None] = {}
    unreadable: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One Pod's world, or that of one machine of a Pod that has several: then ``pod`` is the part that is its own.

    Attributes:
        pod: None when the API server no longer has this incarnation (a GET said so, not a list).
        vm: the VirtualMachine of this incarnation (its pod-uid label is ours), if there is one.
        squatter: a VirtualMachine of the intended name that is not this incarnation's: a predecessor's, a stranger's.
        vmi: the instance of ``vm``, or one that carries our pod-uid label.
        launchers: launcher Pods that carry our pod-uid label; more than one during a migration.
        inputs: None when they were not looked up (nothing has to be created).
        guest: what its agent tells; None when no agent belongs to it.
        machine: which of several it is.
        root_disk: the disk of its own that it boots from, where it has one; None as long as nobody looked for it.
        volumes: by claim, the PersistentVolumes that the VM's disks are; None when they were not looked up.
        contended: in words, which of the Pod's disks other VMs have; known when its VM is to be made.
        unplugged: by name of the disk, why KubeVirt did not plug it in, or unplug it, a moment ago; empty: not yet.
        disks: in words, how far those of the Pod's disks are that are not filled yet.
        lost: in words, what became of those of the Pod's disks that somebody else has deleted.
    """

    key: PodKey
    pod: Pod | None = None
    intent: Intent | None = None
    vm: VirtualMachine | None = None
    squatter: VirtualMachine | None = None
    vmi: VirtualMachineInstance | None = None
    launchers: list[Launcher] = []
    inputs: Inputs | None = None
    guest: Guest | None = None
    machine: Machine | None = None
    root_disk: RootDisk | None = None
    volumes: dict[str, PersistentVolume] | None = None
    contended: list[str] = []
    unplugged: dict[str, str] = {}
    disks: list[str] = []
    lost: list[str] = []

    @property
    def active_launcher(self) -> Launcher | None:
        """The launcher of this boot, on the node where the VM runs now (a migration's target is not it yet)."""
        if self.vmi is None:
            return None
        ours = [one for one in self.launchers if _may_run(one, self.vmi)]
        running = [one for one in ours if one.metadata.uid in self.vmi.status.active_pods] or ours
        here = [one for one in running if one.spec.node_name and one.spec.node_name == self.vmi.status.node_name]
        candidates = here or running
        return candidates[-1] if candidates else None


def _may_run(launcher: Launcher, vmi: VirtualMachineInstance) -> bool:
    """A launcher of the former boot can outlive its VMI by its grace period; it is owned by that one."""
    owners = launcher.metadata.owner_references
    return not owners or any(owner.uid == vmi.metadata.uid for owner in owners)
