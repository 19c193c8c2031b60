"""The fields of KubeVirt objects that we read. What we write is built as plain JSON in ``translate.virtualmachine``.

Source of names: ``staging/src/kubevirt.io/api/core/v1/types.go`` in KubeVirt.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.core import ContainerStatus, Ip
from kubelet_bridge.model.meta import Condition, ObjectMeta


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Base: camelCase, unknown fields skipped."""


class VmiPhase(StrEnum):
    """``VirtualMachineInstance.status.phase``."""

    UNSET = ""
    PENDING = "Pending"
    SCHEDULING = "Scheduling"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    WAITING_FOR_SYNC = "WaitingForSync"
    UNKNOWN = "Unknown"

    @classmethod
    def _missing_(cls, _value: object) -> "VmiPhase":
        return cls.UNKNOWN

    @property
    def final(self) -> bool:
        """Whether the instance has ended."""
        return self in (VmiPhase.SUCCEEDED, VmiPhase.FAILED)


class PrintableStatus(StrEnum):
    """``VirtualMachine.status.printableStatus``: for people and for waiting reasons; never the state machine itself."""

    UNSET = ""
    STOPPED = "Stopped"
    PROVISIONING = "Provisioning"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    TERMINATING = "Terminating"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    MIGRATING = "Migrating"
    UNKNOWN = "Unknown"
    ERROR_UNSCHEDULABLE = "ErrorUnschedulable"
    ERR_IMAGE_PULL = "ErrImagePull"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    ERROR_PVC_NOT_FOUND = "ErrorPvcNotFound"
    DATA_VOLUME_ERROR = "DataVolumeError"
    WAITING_FOR_VOLUME_BINDING = "WaitingForVolumeBinding"
    WAITING_FOR_RECEIVER = "WaitingForReceiver"

    @classmethod
    def _missing_(cls, _value: object) -> "PrintableStatus":
        return cls.UNKNOWN


class StartFailure(_Read, frozen=True):
    """Why and until when a VM waits before the next start."""

    consecutive_fail_count: int = 0
    last_failed_vmi_uid: str = msgspec.field(name="lastFailedVMIUID", default="")
    retry_after_timestamp: datetime | None = None


class StateChangeRequest(_Read, frozen=True):
    """What virt-controller will still do to the instance: ``Start`` or ``Stop``."""

    action: str = ""


class VmStatus(_Read, frozen=True):
    """``VirtualMachine.status``; ``run_strategy`` is empty as long as there was no instance."""

    printable_status: str = ""
    run_strategy: str = ""
    created: bool = False
    ready: bool = False
    conditions: list[Condition] = []
    observed_generation: int = 0
    desired_generation: int = 0
    start_failure: StartFailure | None = None
    state_change_requests: list[StateChangeRequest] = []

    @property
    def printable(self) -> PrintableStatus:
        """``printableStatus`` as an enum; an unknown word is ``Unknown``."""
        return PrintableStatus(self.printable_status)


class VmDevices(_Read, frozen=True):
    """``domain.devices``; a disk stays as it is written."""

    disks: list[dict[str, Any]] = []


class VmDomain(_Read, frozen=True):
    """``domain``."""

    devices: VmDevices = VmDevices()


class VmInstanceSpec(_Read, frozen=True):
    """``spec.template.spec``: the volumes, as they are written, and the disks that show them to the guest."""

    domain: VmDomain = VmDomain()
    volumes: list[dict[str, Any]] = []


class VmTemplate(_Read, frozen=True):
    """``spec.template``: what the next boot is made from."""

    spec: VmInstanceSpec = VmInstanceSpec()


class VmSpec(_Read, frozen=True):
    """``VirtualMachine.spec``, as far as we compare it."""

    run_strategy: str = ""
    running: bool | None = None
    template: VmTemplate = VmTemplate()


class VirtualMachine(_Read, frozen=True):
    """A VirtualMachine."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VmSpec = VmSpec()
    status: VmStatus = VmStatus()


class PhaseTransition(_Read, frozen=True):
    """When a phase was reached."""

    phase: str = ""
    phase_transition_timestamp: datetime | None = None


class VmiInterface(_Read, frozen=True):
    """One network interface of the guest; ``ip_address`` may be the inside of the NAT: never the Pod's address."""

    name: str = ""
    ip_address: str = ""
    mac: str = ""


class GuestOsInfo(_Read, frozen=True):
    """What the guest agent says of the OS."""

    pretty_name: str = ""
    kernel_release: str = ""


class CpuTopology(_Read, frozen=True):
    """vCPUs are the product."""

    sockets: int = 0
    cores: int = 0
    threads: int = 0


class MemoryStatus(_Read, frozen=True):
    """Guest memory as quantities."""

    guest_at_boot: str | None = None
    guest_current: str | None = None
    guest_requested: str | None = None


class MigrationState(_Read, frozen=True):
    """A migration under way or the last one."""

    start_timestamp: datetime | None = None
    end_timestamp: datetime | None = None
    completed: bool = False
    failed: bool = False
    target_node: str = ""
    source_node: str = ""


class ClaimInfo(_Read, frozen=True):
    """The claim behind a disk, as virt-controller saw it."""

    claim_name: str = ""
    access_modes: list[str] = []


class HotplugStatus(_Read, frozen=True):
    """Of a disk that came after the machine was started, or had to: its attachment Pod."""

    attach_pod_name: str = ""


class VolumeStatus(_Read, frozen=True):
    """One disk of a running machine; ``target`` is the guest's name of it. It stays until a disk is unplugged."""

    name: str = ""
    target: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    hotplug_volume: HotplugStatus | None = None
    claim: ClaimInfo | None = msgspec.field(name="persistentVolumeClaimInfo", default=None)


class VmiStatus(_Read, frozen=True):
    """``VirtualMachineInstance.status``.

    Attributes:
        active_pods: launcher Pod uid to node name; during a migration there are two.
    """

    phase: str = ""
    reason: str = ""
    node_name: str = ""
    conditions: list[Condition] = []
    active_pods: dict[str, str] = {}
    interfaces: list[VmiInterface] = []
    phase_transition_timestamps: list[PhaseTransition] = []
    guest_os_info: GuestOsInfo = msgspec.field(name="guestOSInfo", default=GuestOsInfo())
    current_cpu_topology: CpuTopology | None = msgspec.field(name="currentCPUTopology", default=None)
    memory: MemoryStatus | None = None
    migration_state: MigrationState | None = None
    volume_status: list[VolumeStatus] = []


class VirtualMachineInstance(_Read, frozen=True):
    """A VirtualMachineInstance: one boot of a VM."""

    metadata: ObjectMeta = ObjectMeta()
    status: VmiStatus = VmiStatus()

    @property
    def phase(self) -> VmiPhase:
        """``status.phase`` as an enum; an unknown word is ``Unknown``."""
        return VmiPhase(self.status.phase)

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type."""
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    def reached(self, phase: VmiPhase) -> datetime | None:
        """When ``phase`` was reached, if it was."""
        for transition in self.status.phase_transition_timestamps:
            if transition.phase == phase.value:
                return transition.phase_transition_timestamp
        return None


class LauncherStatus(_Read, frozen=True):
    """The launcher Pod's status."""

    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[Ip] = msgspec.field(name="podIPs", default_factory=list)
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    reason: str = ""
    message: str = ""


class LauncherSpec(_Read, frozen=True):
    """The launcher Pod's spec, as far as it matters."""

    node_name: str = ""


class Launcher(_Read, frozen=True):
    """A virt-launcher Pod: the real Pod on a real node in which the VM runs."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LauncherSpec = LauncherSpec()
    status: LauncherStatus = LauncherStatus()
