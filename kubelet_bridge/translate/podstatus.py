"""A Pod's status, made from what is known of its VM.

Phases follow the kubelet's ``getPhase`` (``pkg/kubelet/kubelet_pods.go``), with two differences that a VM asks for: one
that is switched off keeps its Pod ``Running``, and so does one whose node is lost (``Unknown`` gets Pods collected).
"""

from datetime import datetime

import msgspec

from kubelet_bridge.model.core import ContainerStateWaiting, ContainerStatus, Ip, Pod, PodStatus
from kubelet_bridge.model.intent import Hosting, Intent
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import containerstatus, guestcontainers
from kubelet_bridge.translate.containerstatus import View, running, terminated
from kubelet_bridge.translate.guestcontainers import have_begun
from kubelet_bridge.translate.launcher import addresses
from kubelet_bridge.translate.podconditions import conditions, networked, sight, vm_trouble
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase
from kubelet_bridge.translate.waiting import deleting, why_waiting


class Problem(msgspec.Struct, frozen=True):
    """Why no VM could be made of the Pod: the waiting reason and message of its containers."""

    reason: str
    message: str


def build(snapshot: Snapshot, *, host_ip: str, problem: Problem | None, now: datetime) -> PodStatus:
    """The status ``snapshot`` amounts to; both ``snapshot.pod`` and ``snapshot.intent`` must be there.

    Args:
        snapshot: with the intent that ``observe`` returned for it.
        host_ip: address of our node; empty while it has none.
        problem: what keeps the Pod from becoming a VM now.
        now: the current time, for conditions that change with this status.

    Raises:
        ValueError: there is no Pod, or nothing was promised for it.
    """
    pod, intent = snapshot.pod, snapshot.intent
    if pod is None or intent is None:
        raise ValueError(f"{snapshot.key} has no status: there is no Pod or no intent")
    finished = _finished(snapshot, pod, intent)
    if _stays(snapshot, pod, intent, finished=finished):
        return pod.status
    view = View(
        snapshot=snapshot,
        pod=pod,
        intent=intent,
        waiting=_waiting(snapshot, intent, problem),
        finished=finished,
        now=now.replace(microsecond=0),
    )
    return _status(view, host_ip)


def _stays(snapshot: Snapshot, pod: Pod, intent: Intent, *, finished: bool) -> bool:
    """Whether the status is left as it is.

    While the Pod is deleted: endpoints go by ``deletionTimestamp``, and its end is written once, when nothing is left.
    And while a VM that was seen is missing from the cache: a GET has to say so, too.
    """
    if deleting(pod):
        return not finished
    absent = snapshot.vm is None and snapshot.vmi is None
    return absent and bool(intent.vm_uid) and not intent.outcome


def _waiting(snapshot: Snapshot, intent: Intent, problem: Problem | None) -> ContainerStateWaiting:
    if problem is not None and snapshot.vmi is None:
        return ContainerStateWaiting(problem.reason, problem.message)
    return why_waiting(intent, snapshot)


def _finished(snapshot: Snapshot, pod: Pod, intent: Intent) -> bool:
    """Whether the end may be told: the phase becomes final only when nothing runs any more (``mergePodStatus``)."""
    if snapshot.vmi is not None and not snapshot.vmi.phase.final:
        return False
    if intent.outcome:
        return True
    return deleting(pod) and snapshot.vm is None and snapshot.vmi is None and not snapshot.launchers


def _status(view: View, host_ip: str) -> PodStatus:
    pod, intent = view.pod, view.intent
    of_containers = containerstatus if intent.hosting is Hosting.MACHINE else guestcontainers
    main = [] if _never_took_it(view) else of_containers.main_statuses(view)
    init = [] if _never_took_it(view) else of_containers.init_statuses(view)
    phase = _phase(view, init, main)
    reason, message = _reason(view, phase)
    pod_ips = _pod_ips(view, phase)
    return PodStatus(
        phase=phase.value,
        reason=reason,
        message=message,
        start_time=pod.status.start_time or intent.accepted_at.replace(microsecond=0),
        host_ip=host_ip or pod.status.host_ip,
        host_ips=[Ip(host_ip)] if host_ip else pod.status.host_ips,
        pod_ip=pod_ips[0].ip if pod_ips else "",
        pod_ips=pod_ips,
        conditions=conditions(sight(view.snapshot, pod), pod, phase, [*init, *main], view.now),
        container_statuses=main,
        init_container_statuses=init,
        ephemeral_container_statuses=_ephemeral_statuses(view),
        observed_generation=max(pod.metadata.generation, pod.status.observed_generation),
        qos_class=pod.status.qos_class,
    )


def _ephemeral_statuses(view: View) -> list[ContainerStatus]:
    """They need an agent, and nothing else: one runs them beside what the machine itself is, too."""
    if view.snapshot.guest is None and view.intent.hosting is Hosting.MACHINE:
        return containerstatus.ephemeral_statuses(view)
    return guestcontainers.ephemeral_statuses(view)


def _never_took_it(view: View) -> bool:
    """Whether the Pod was refused, now or before memory was lost: the kubelet reports no containers (``rejectPod``)."""
    final_before = view.pod.status.phase in TERMINAL and not view.pod.status.container_statuses
    return view.intent.rejected or final_before


def _phase(view: View, init: list[ContainerStatus], main: list[ContainerStatus]) -> Phase:
    pod, before = view.pod, view.pod.status.phase
    if before in TERMINAL:
        return Phase(before)
    if view.finished:
        return Phase(view.intent.outcome) if view.intent.outcome else phase_by_exit_codes(main)
    is_machine = view.intent.hosting is Hosting.MACHINE
    begun = _ever_started(view.intent, main) if is_machine else have_begun(pod, init, main)
    return Phase.RUNNING if before == Phase.RUNNING or begun else Phase.PENDING


def phase_by_exit_codes(statuses: list[ContainerStatus]) -> Phase:
    """How a Pod ended whose main containers have these statuses."""
    ends = [terminated(status) for status in statuses]
    clean = all(end is not None and end.exit_code == 0 for end in ends)
    return Phase.SUCCEEDED if clean else Phase.FAILED


def _ever_started(intent: Intent, statuses: list[ContainerStatus]) -> bool:
    return (
        intent.termination is not None or intent.last_termination is not None or any(running(one) for one in statuses)
    )


def _reason(view: View, phase: Phase) -> tuple[str, str]:
    """Reason and message of the Pod; ``kubectl get pods`` shows the reason in place of the phase."""
    status, intent = view.pod.status, view.intent
    if status.phase in TERMINAL:
        return status.reason, status.message
    if phase in TERMINAL:
        return intent.outcome_reason, intent.outcome_message
    return vm_trouble(view.snapshot) or ("", "")


def _pod_ips(view: View, phase: Phase) -> list[Ip]:
    """The active launcher's addresses: those of a VMI's interfaces may be the inside of the NAT (KubeVirt #18760).

    Without a launcher there is none, as soon as may be: the address may already be another Pod's. A Pod that is over is
    in no Service, and keeps what it had, for people.
    """
    if phase in TERMINAL:
        return view.pod.status.pod_ips
    launcher = view.snapshot.active_launcher
    if launcher is None or not networked(view.snapshot, view.pod):
        return []
    return addresses(launcher)
