"""One Pod's status, made of those of its machines."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from kubelet_bridge.model.core import ContainerState, ContainerStateWaiting, ContainerStatus, Ip, Pod, PodStatus
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.machine import Machine, Role
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.containerstatus import terminated
from kubelet_bridge.translate.guestcontainers import have_begun
from kubelet_bridge.translate.machines import container_of, status_of
from kubelet_bridge.translate.podconditions import Sight, conditions, sight
from kubelet_bridge.translate.podstatus import phase_by_exit_codes
from kubelet_bridge.translate.resources import requests_by_container
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase, PodCondition, Reason

_WORSE = {
    PodCondition.PAUSED: "True",
    PodCondition.MIGRATING: "True",
    PodCondition.LIVE_MIGRATABLE: "False",
    PodCondition.GUEST_AGENT_CONNECTED: "False",
    PodCondition.DISKS_PLUGGED: "False",
    PodCondition.PINNED_TO_NODE: "True",
}
"""What one machine's condition has to be for it to be the Pod's."""


class Part(msgspec.Struct, frozen=True):
    """One machine and what came of it.

    Attributes:
        snapshot: as it is now; without an intent when the machine was not begun.
        status: of the Pod that it is by itself; None when it was not begun.
    """

    machine: Machine
    snapshot: Snapshot
    status: PodStatus | None = None

    @property
    def container(self) -> ContainerStatus | None:
        """The status of its one container."""
        return self.status.container_statuses[0] if self.status and self.status.container_statuses else None

    @property
    def runs(self) -> bool:
        """Whether its VM does."""
        return self.snapshot.vmi is not None and not self.snapshot.vmi.phase.final


def build(pod: Pod, own: Intent, parts: Sequence[Part], *, host_ip: str, gone: bool, now: datetime) -> PodStatus:
    """The Pod's status.

    Args:
        pod: the whole.
        own: its own row.
        parts: all of its machines, in the order of ``machines``.
        host_ip: address of our node.
        gone: nothing is left of any machine.
        now: the current time.
    """
    deleting = pod.metadata.deletion_timestamp is not None
    if deleting and not gone and not (own.outcome and _still(parts)):
        return pod.status
    rejected = own.rejected or (pod.status.phase in TERMINAL and not pod.status.container_statuses)
    init, main = ([], []) if rejected else (_init(pod, parts), _main(pod, parts))
    phase = _phase(pod, own, parts, init, main, gone=gone and deleting)
    seen = _together(sight(one.snapshot, pod) for one in parts)
    reason, message = _reason(pod, own, phase, seen)
    addresses = _addresses(pod, phase, parts)
    return PodStatus(
        phase=phase.value,
        reason=reason,
        message=message,
        start_time=pod.status.start_time or own.accepted_at.replace(microsecond=0),
        host_ip=host_ip or pod.status.host_ip,
        host_ips=[Ip(host_ip)] if host_ip else pod.status.host_ips,
        pod_ip=addresses[0].ip if addresses else "",
        pod_ips=addresses,
        conditions=conditions(seen, pod, phase, [*init, *main], now.replace(microsecond=0)),
        container_statuses=main,
        init_container_statuses=init,
        ephemeral_container_statuses=_ephemeral(pod, parts),
        observed_generation=max(pod.metadata.generation, pod.status.observed_generation),
        qos_class=pod.status.qos_class,
    )


def _still(parts: Iterable[Part]) -> bool:
    return not any(one.runs for one in parts)


def _main(pod: Pod, parts: Iterable[Part]) -> list[ContainerStatus]:
    return [one.container or _not_begun(pod, one) for one in parts if one.machine.role is Role.MAIN]


def _init(pod: Pod, parts: Iterable[Part]) -> list[ContainerStatus]:
    return [
        _completed(one.machine, one.container or _not_begun(pod, one))
        for one in parts
        if one.machine.role is not Role.MAIN
    ]


def _completed(machine: Machine, status: ContainerStatus) -> ContainerStatus:
    """An init container is ready when it has succeeded."""
    if machine.role is Role.SIDECAR:
        return status
    end = terminated(status)
    return msgspec.structs.replace(status, ready=end is not None and end.exit_code == 0)


def _not_begun(pod: Pod, part: Part) -> ContainerStatus:
    """Waiting for those before it; what the API has of its end stays."""
    known = status_of(pod, part.machine)
    if known is not None and terminated(known) is not None:
        return known
    container = container_of(pod, part.machine)
    requests: dict[str, str | int | float] = {**requests_by_container(pod)[container.name]}
    return ContainerStatus(
        name=container.name, ready=False, restart_count=0, image=container.image, image_id="",
        state=ContainerState(waiting=ContainerStateWaiting(Reason.POD_INITIALIZING)), last_state=ContainerState(),
        started=False, resources=msgspec.structs.replace(container.resources, requests=requests),
        allocated_resources=requests,
    )  # fmt: skip


def _ephemeral(pod: Pod, parts: Iterable[Part]) -> list[ContainerStatus]:
    made = {one.name: one for part in parts if part.status for one in part.status.ephemeral_container_statuses}
    return [made[one.name] for one in pod.spec.ephemeral_containers if one.name in made]


def _phase(
    pod: Pod, own: Intent, parts: Sequence[Part], init: list[ContainerStatus], main: list[ContainerStatus],
    *, gone: bool,
) -> Phase:  # fmt: skip
    """Final only when nothing runs any more."""
    before = pod.status.phase
    if before in TERMINAL:
        return Phase(before)
    if own.outcome and _still(parts):
        return Phase(own.outcome)
    if gone:
        return phase_by_exit_codes(main)
    return Phase.RUNNING if before == Phase.RUNNING or have_begun(pod, init, main) else Phase.PENDING


def _reason(pod: Pod, own: Intent, phase: Phase, seen: Sight) -> tuple[str, str]:
    if pod.status.phase in TERMINAL:
        return pod.status.reason, pod.status.message
    if phase in TERMINAL:
        return own.outcome_reason, own.outcome_message
    return seen.trouble or ("", "")


def _addresses(pod: Pod, phase: Phase, parts: Iterable[Part]) -> list[Ip]:
    """Those of the first main container's VM, while it is there; a Pod that is over keeps what it had, for people."""
    if phase in TERMINAL:
        return pod.status.pod_ips
    first = next((one for one in parts if one.machine.role is Role.MAIN), None)
    if first is None or first.status is None or first.status.phase in TERMINAL:
        return []
    return first.status.pod_ips


def _together(seen: Iterable[Sight]) -> Sight:
    """A sandbox as soon as one machine has one; of troubles the first; of each condition the worst."""
    sights = list(seen)
    about: dict[str, Condition] = {}
    for one in (condition for each in sights for condition in each.about):
        known = about.get(one.type)
        if known is None or (known.status != one.status == _WORSE[PodCondition(one.type)]):
            about[one.type] = one
    trouble = next((one.trouble for one in sights if one.trouble is not None), None)
    return Sight(any(one.networked for one in sights), trouble, list(about.values()))
