"""A Pod with a VM for each container, taken apart: each machine is a Pod of one container, and planned as any other.

What such a Pod's containers do not have is what they would share: ``localhost``, an address, volumes.
"""

import re
from collections.abc import Iterable

import msgspec

from kubelet_bridge.model.core import Container, ContainerState, ContainerStatus, Pod, PodStatus
from kubelet_bridge.model.machine import Machine, Role
from kubelet_bridge.model.snapshot import PodEvent, Snapshot
from kubelet_bridge.translate import annotations
from kubelet_bridge.translate.resources import is_sidecar
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase, RestartPolicy

VM_PER_CONTAINER = "vm-per-container"
ONE_VM = "one-vm"

_OWN_PATH = "spec.containers[0]"
_VOLUME = re.compile(r"spec\.volumes\[(\d+)\]")


def is_wanted(pod: Pod) -> bool:
    """Whether the Pod asks for a VM for each container; what counts is what it asked for when it was accepted."""
    return pod.metadata.annotations.get(annotations.CONTAINERS) == VM_PER_CONTAINER


def machines(pod: Pod) -> list[Machine]:
    """One for each container, in the order in which they begin."""
    init = [
        _machine(pod, one, Role.SIDECAR if is_sidecar(one) else Role.INIT, f"spec.initContainers[{index}]")
        for index, one in enumerate(pod.spec.init_containers)
    ]
    main = [_machine(pod, one, Role.MAIN, f"spec.containers[{index}]") for index, one in enumerate(pod.spec.containers)]
    return [*init, *main]


def machine_of(pod: Pod, container: str) -> Machine | None:
    """The one of that container."""
    return next((one for one in machines(pod) if one.container == container), None)


def container_of(pod: Pod, machine: Machine) -> Container:
    """The machine's container, as the Pod has it."""
    group = pod.spec.containers if machine.role is Role.MAIN else pod.spec.init_containers
    return next(one for one in group if one.name == machine.container)


def part(pod: Pod, container: str) -> tuple[Pod, Machine] | None:
    """The Pod of one container that is planned for its machine, and which that is; None when there is none.

    It has the name, uid, labels and annotations of the whole: the downward API tells of the Pod. An init container is
    tried again until it succeeds, unless the Pod is not to be restarted at all; a sidecar always.
    """
    machine = machine_of(pod, container)
    if machine is None:
        return None
    original = container_of(pod, machine)
    spec = msgspec.structs.replace(
        pod.spec,
        containers=[msgspec.structs.replace(original, restart_policy="")],
        init_containers=[],
        ephemeral_containers=_debuggers(pod, machine),
        volumes=[pod.spec.volumes[index] for index in machine.volumes],
        restart_policy=_policy(pod, machine, original),
        active_deadline_seconds=None,
    )
    apart = msgspec.structs.replace(pod, spec=spec)
    return msgspec.structs.replace(apart, status=_status(pod, apart, machine)), machine


def worded(snapshot: Snapshot, text: str) -> str:
    """``text`` about the part, with the paths that the whole Pod has for what it speaks of."""
    machine = snapshot.machine
    if machine is None:
        return text
    text = text.replace(_OWN_PATH, machine.path)
    return _VOLUME.sub(lambda match: f"spec.volumes[{_index(machine, int(match[1]))}]", text)


def told(snapshot: Snapshot, events: Iterable[PodEvent]) -> list[PodEvent]:
    """Events about the part as events of the whole Pod."""
    machine = snapshot.machine
    if machine is None:
        return list(events)
    return [
        msgspec.structs.replace(
            one, message=worded(snapshot, one.message), field_path=field_path(machine, one.field_path)
        )
        for one in events
    ]


def field_path(machine: Machine, path: str) -> str:
    """``spec.containers{name}`` as it is in the whole Pod."""
    if machine.role is Role.MAIN:
        return path
    return path.replace(f"spec.containers{{{machine.container}}}", f"spec.initContainers{{{machine.container}}}")


def _index(machine: Machine, place: int) -> int:
    return machine.volumes[place] if place < len(machine.volumes) else place


def _machine(pod: Pod, one: Container, role: Role, path: str) -> Machine:
    """Its volumes are those that the container mounts or has as devices."""
    wanted = {mount.name for mount in one.volume_mounts} | {device.name for device in one.volume_devices}
    volumes = tuple(index for index, volume in enumerate(pod.spec.volumes) if volume.get("name") in wanted)
    return Machine(one.name, role, path, volumes)


def _debuggers(pod: Pod, machine: Machine) -> list[Container]:
    """An ephemeral container goes where the container is that it is to look at; without one, to the first."""
    first = pod.spec.containers[0].name
    return [one for one in pod.spec.ephemeral_containers if (one.target_container_name or first) == machine.container]


def _policy(pod: Pod, machine: Machine, container: Container) -> str:
    match machine.role:
        case Role.MAIN:
            return container.restart_policy or pod.spec.restart_policy
        case Role.SIDECAR:
            return RestartPolicy.ALWAYS.value
        case Role.INIT if pod.spec.restart_policy == RestartPolicy.NEVER:
            return RestartPolicy.NEVER.value
        case Role.INIT:
            return RestartPolicy.ON_FAILURE.value


def _status(pod: Pod, apart: Pod, machine: Machine) -> PodStatus:
    """What the Pod's status says of the one container; the phase is what it would be of a Pod of its own."""
    known = status_of(pod, machine)
    names = {one.name for one in apart.spec.ephemeral_containers}
    first = machine.role is Role.MAIN and machine.container == pod.spec.containers[0].name
    return msgspec.structs.replace(
        pod.status,
        phase=_phase(pod, apart, known),
        reason=pod.status.reason if pod.status.phase in TERMINAL else "",
        message=pod.status.message if pod.status.phase in TERMINAL else "",
        pod_ip=pod.status.pod_ip if first else "",
        pod_ips=pod.status.pod_ips if first else [],
        container_statuses=[known] if known is not None else [],
        init_container_statuses=[],
        ephemeral_container_statuses=[one for one in pod.status.ephemeral_container_statuses if one.name in names],
    )


def status_of(pod: Pod, machine: Machine) -> ContainerStatus | None:
    """What the Pod's status says of the machine's container."""
    status = pod.status
    group = status.container_statuses if machine.role is Role.MAIN else status.init_container_statuses
    return next((one for one in group if one.name == machine.container), None)


def _phase(pod: Pod, apart: Pod, known: ContainerStatus | None) -> str:
    state = (known.state if known is not None else None) or ContainerState()
    end = state.terminated
    if end is not None and _stays_ended(pod, apart, end.exit_code == 0):
        return (Phase.SUCCEEDED if end.exit_code == 0 else Phase.FAILED).value
    if pod.status.phase in TERMINAL:
        return pod.status.phase
    begun = state.running is not None or (known is not None and bool(known.container_id))
    return (Phase.RUNNING if begun else Phase.PENDING).value


def _stays_ended(pod: Pod, apart: Pod, well: bool) -> bool:
    if pod.status.phase in TERMINAL:
        return True
    policy = apart.spec.restart_policy
    return policy == RestartPolicy.NEVER or (policy == RestartPolicy.ON_FAILURE and well)
