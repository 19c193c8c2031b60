"""The intent: what this node has accepted and promised for one Pod incarnation. It outlives the process."""

from datetime import datetime
from enum import StrEnum

import msgspec

from kubelet_bridge.model.guest import GuestTermination
from kubelet_bridge.model.meta import PodKey


class IntentStatus(StrEnum):
    """Where a promise stands, in the words users of droplets know."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    OFF = "off"
    DESTROYED = "destroyed"


class Hosting(StrEnum):
    """How a Pod's containers live in its VM."""

    MACHINE = "machine"
    """The VM itself is the workload: a container is a name for it."""

    SYSTEM = "system"
    """The VM boots an OS image, and the agent runs the containers' commands on that OS."""

    OCI = "oci"
    """The VM boots the runtime image, and the agent runs the containers from their images."""


class Allocation(msgspec.Struct, frozen=True):
    """What was promised to the VM: sockets (vCPUs), bytes of memory and disk, MAC address if pinned, ports.

    ``resources`` and ``limits`` are per container, as quantities: what ``allocatedResources`` reports.
    """

    cpu: int = 0
    memory: int = 0
    disk: int = 0
    mac: str = ""
    ports: list[int] = []
    requests: dict[str, dict[str, str]] = {}


class Termination(msgspec.Struct, frozen=True):
    """How one boot of the VM ended."""

    vmi_uid: str
    exit_code: int
    reason: str
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Carried(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a container that an agent runs has behind it when a boot begins.

    Attributes:
        restarts: its restart count in that boot, to begin with.
        end: how its last run in an earlier boot ended.
    """

    restarts: int = 0
    end: GuestTermination | None = None


class DiskPlaces(msgspec.Struct, frozen=True):
    """Where the disks of a boot are.

    Attributes:
        occasion: the boot and its disks when they were looked at; another one asks for another look.
        pinned: by name of the disk, in words, on which nodes alone it is.
    """

    occasion: str = ""
    pinned: dict[str, str] = {}


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One row, keyed by the Pod's uid.

    A Pod with a VM for each container has a row of its own, which says so (``machines``) and names no VM, and one for
    each machine, keyed by the machine's uid.

    Attributes:
        id: readable, ``dpl_`` + 8 characters.
        vm_name: chosen once and kept: the Pod's name, or a hashed one when that was taken.
        vm_uid: uid of the VirtualMachine once it was seen; empty before. A VM of the same name with another uid is not
            ours.
        spec_hash: hash of the manifests last applied; another hash means another apply.
        boot_image: what the VM boots from; another image means another boot.
        hosting: whether the agent runs the containers of the VM that was promised.
        applied_generation: the Pod generation that ``spec_hash`` was made from; another generation is looked at again.
        replace_vmi_uid: a boot of the former spec, to be replaced by a new one; empty when there is none.
        vmi_uid: the boot that counts now; a different one is a restart.
        vmi_started: whether that boot reached Running.
        vmi_stopping: whether that boot was asked to stop before it ended by itself.
        restart_count: boots after the first.
        carried: by container that an agent runs, what the boots before this one have left.
        last_termination: how the previous boot ended (``lastState``).
        termination: how the current boot ended, if it did.
        outcome: final Pod phase once decided (``Succeeded`` or ``Failed``), with ``outcome_reason`` and
            ``outcome_message``; never taken back.
        accepted_at: when this node took the Pod (``status.startTime``).
        deletion_grace: grace last asked of KubeVirt, seconds; None while not deleting.
        rejected: the Pod can never be a VM; nothing may be created for it.
        disk_places: which of its disks keep the VM on some nodes.
        attached: the disks plugged in while it ran of which it was told that the guest has them.
        machines: each container of the Pod has a VM and a row of its own; decided when the Pod was accepted.
        container: of a machine's row: the container it is for.
        pod_uid: of a machine's row: the Pod it belongs to.
    """

    uid: str
    id: str
    namespace: str
    name: str
    status: IntentStatus = IntentStatus.PROVISIONING
    vm_name: str = ""
    vm_uid: str = ""
    spec_hash: str = ""
    boot_image: str = ""
    hosting: Hosting = Hosting.MACHINE
    applied_generation: int = 0
    replace_vmi_uid: str = ""
    allocation: Allocation = Allocation()
    vmi_uid: str = ""
    vmi_started: bool = False
    vmi_stopping: bool = False
    restart_count: int = 0
    carried: dict[str, Carried] = {}
    last_termination: Termination | None = None
    termination: Termination | None = None
    outcome: str = ""
    outcome_reason: str = ""
    outcome_message: str = ""
    accepted_at: datetime
    deletion_grace: int | None = None
    rejected: bool = False
    disk_places: DiskPlaces = DiskPlaces()
    attached: list[str] = []
    machines: bool = False
    container: str = ""
    pod_uid: str = ""

    @property
    def destroyed(self) -> bool:
        """Whether it is a tombstone."""
        return self.status is IntentStatus.DESTROYED

    @property
    def key(self) -> PodKey:
        """Of the Pod, or of the machine."""
        return PodKey(self.namespace, self.name, self.uid, container=self.container, pod_uid=self.pod_uid)


class Transition(msgspec.Struct, frozen=True):
    """One line of an intent's history."""

    uid: str
    at: datetime
    from_status: str
    to_status: str
    reason: str
