"""What a virt-launcher Pod and a VirtualMachineInstance say, read for one question each."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address

from kubelet_bridge.model.core import ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Ip
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.meta import Condition

COMPUTE = "compute"
_DISK_CONTAINER_PREFIX = "volume"


def addresses(launcher: Launcher | None) -> list[Ip]:
    """The launcher's addresses, which are the VM's; one of each family."""
    if launcher is None:
        return []
    found = launcher.status.pod_ips or ([Ip(launcher.status.pod_ip)] if launcher.status.pod_ip else [])
    by_family = {ip_address(one.ip).version: one for one in reversed(found)}
    return [one for one in found if by_family[ip_address(one.ip).version] == one]


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type_), None)


def holds(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition of that type is there and ``True``."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == "True"


def complaint(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type if it is ``False`` and says why."""
    condition = find(conditions, type_)
    return condition if condition is not None and condition.status == "False" and condition.message else None


def ended_at(vmi: VirtualMachineInstance) -> datetime | None:
    """When the instance reached its final phase."""
    return vmi.reached(VmiPhase.SUCCEEDED) or vmi.reached(VmiPhase.FAILED)


def paused(vmi: VirtualMachineInstance | None) -> Condition | None:
    """The ``Paused`` condition while it holds; its reason tells a user's pause from an I/O error."""
    condition = vmi.condition("Paused") if vmi is not None else None
    return condition if condition is not None and condition.status == "True" else None


def migrating(vmi: VirtualMachineInstance | None) -> bool:
    """Whether a migration is under way (KubeVirt, ``pkg/util/migrations/migrations.go``)."""
    state = vmi.status.migration_state if vmi is not None else None
    return state is not None and state.start_timestamp is not None and state.end_timestamp is None


def evicted(launcher: Launcher | None) -> bool:
    """Whether the launcher is being taken off its node: eviction, preemption or node shutdown."""
    return launcher is not None and holds(launcher.status.conditions, "DisruptionTarget")


def compute_end(launcher: Launcher | None) -> ContainerStateTerminated | None:
    """How the container that runs the hypervisor ended."""
    for status in launcher.status.container_statuses if launcher is not None else ():
        if status.name == COMPUTE and status.state is not None:
            return status.state.terminated
    return None


def container_trouble(launcher: Launcher | None, reasons: frozenset[str]) -> ContainerStateWaiting | None:
    """The first container of the launcher that waits for one of ``reasons``."""
    for status in _all(launcher):
        waiting = status.state.waiting if status.state is not None else None
        if waiting is not None and waiting.reason in reasons:
            return waiting
    return None


def disk_image(launcher: Launcher | None, image: str) -> str:
    """The digest under which the launcher runs ``image`` as a disk; empty while nobody knows."""
    disks = [one for one in _disks(launcher) if one.image_id]
    named = [one for one in disks if one.image == image]
    digest = (named or disks)[0].image_id if disks else ""
    return digest if isinstance(digest, str) else ""


def pulling(launcher: Launcher | None) -> bool:
    """Whether the launcher is on a node and a disk image of it is not there yet."""
    if launcher is None or not launcher.spec.node_name:
        return False
    return any(not one.image_id for one in _disks(launcher))


def _disks(launcher: Launcher | None) -> list[ContainerStatus]:
    """The containers that bring disks.

    KubeVirt pulls each containerDisk in a container called ``volume`` + the volume's name, with image volumes or
    without (``pkg/container-disk/container-disk.go``).
    """
    return [one for one in _all(launcher) if one.name.startswith(_DISK_CONTAINER_PREFIX)]


def _all(launcher: Launcher | None) -> list[ContainerStatus]:
    if launcher is None:
        return []
    return [*launcher.status.init_container_statuses, *launcher.status.container_statuses]
