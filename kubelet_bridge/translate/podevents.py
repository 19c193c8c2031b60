"""The events that a change of a Pod's status means, worded as the kubelet words them (``pkg/kubelet/events/event.go``).

They come from the difference between two statuses only: a status that is written again says nothing again. Events of a
decision (a Pod that is killed or rejected, a VM that cannot be made) come from where it is taken.
"""

from collections.abc import Iterator

from kubelet_bridge.model.core import ContainerStateWaiting, ContainerStatus, PodStatus
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.kubevirt import VmiPhase
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import EventType, PodEvent, Snapshot
from kubelet_bridge.translate.containerstatus import running
from kubelet_bridge.translate.launcher import find, holds, pulling
from kubelet_bridge.translate.vocabulary import PodCondition, Reason


def events(before: PodStatus, after: PodStatus, snapshot: Snapshot) -> list[PodEvent]:
    """What happened between the two statuses, in the order in which it happened.

    What happens in a guest is told by its agent; here, only what keeps its VM from running.
    """
    if snapshot.intent is not None and snapshot.intent.hosting is not Hosting.MACHINE:
        return [*_of_pod(before, after), *_of_machine(before, after, snapshot)]
    return [*_of_pod(before, after), *_pull(before, after, snapshot), *_of_containers(before, after, snapshot)]


def _of_pod(before: PodStatus, after: PodStatus) -> Iterator[PodEvent]:
    if after.reason == Reason.DEADLINE_EXCEEDED != before.reason:
        yield PodEvent(EventType.NORMAL, after.reason, after.message)
    if (pinned := _news(before, after, PodCondition.PINNED_TO_NODE)) is not None and pinned.status == "True":
        yield PodEvent(EventType.WARNING, "PinnedToNode", pinned.message)
    plugged = _news(before, after, PodCondition.DISKS_PLUGGED)
    if plugged is not None and plugged.reason == Reason.FAILED_ATTACH_VOLUME:
        yield PodEvent(EventType.WARNING, plugged.reason, plugged.message)


def _news(before: PodStatus, after: PodStatus, type_: PodCondition) -> Condition | None:
    """A condition that says something else than before."""
    former, now = find(before.conditions, type_), find(after.conditions, type_)
    if now is None or (former is not None and (former.status, former.message) == (now.status, now.message)):
        return None
    return now


def _pull(before: PodStatus, after: PodStatus, snapshot: Snapshot) -> Iterator[PodEvent]:
    """The launcher's node pulls the disk as soon as there is a sandbox; an image that it has is not pulled."""
    if _networked(before.conditions) or not _networked(after.conditions) or not after.container_statuses:
        return
    first = after.container_statuses[0]
    if not running(first) and pulling(snapshot.active_launcher):
        yield _event(first, EventType.NORMAL, "Pulling", f'Pulling image "{first.image}"')


def _networked(conditions: list[Condition]) -> bool:
    return holds(conditions, PodCondition.READY_TO_START_CONTAINERS)


def _of_containers(before: PodStatus, after: PodStatus, snapshot: Snapshot) -> Iterator[PodEvent]:
    former = {status.name: status for status in before.container_statuses}
    for status in after.container_statuses:
        known = former.get(status.name)
        if _started(known, status):
            yield _event(status, EventType.NORMAL, "Created", "Container created")
            yield _event(status, EventType.NORMAL, "Started", "Container started")
        elif _reason(known) != _reason(status):
            yield from _trouble(status, snapshot)


def _of_machine(before: PodStatus, after: PodStatus, snapshot: Snapshot) -> Iterator[PodEvent]:
    """One of its containers stands for all: they wait for the same VM."""
    runs = snapshot.vmi is not None and snapshot.vmi.phase is VmiPhase.RUNNING
    former = {status.name: status for status in before.container_statuses}
    for status in after.container_statuses[:1]:
        if not runs and _reason(former.get(status.name)) != _reason(status):
            yield from _trouble(status, snapshot)


def _started(known: ContainerStatus | None, status: ContainerStatus) -> bool:
    if not running(status):
        return False
    return known is None or not running(known) or known.container_id != status.container_id


def _reason(status: ContainerStatus | None) -> str:
    waiting = _waiting(status)
    return waiting.reason if waiting is not None else ""


def _waiting(status: ContainerStatus | None) -> ContainerStateWaiting | None:
    return status.state.waiting if status is not None and status.state is not None else None


def _trouble(status: ContainerStatus, snapshot: Snapshot) -> Iterator[PodEvent]:
    waiting = _waiting(status)
    match waiting.reason if waiting is not None else "":
        case Reason.ERR_IMAGE_PULL:
            text = f'Failed to pull image "{status.image}": {waiting.message if waiting else ""}'
            yield _event(status, EventType.WARNING, "Failed", text)
        case Reason.IMAGE_PULL_BACK_OFF:
            yield _event(status, EventType.NORMAL, "BackOff", f'Back-off pulling image "{status.image}"')
        case Reason.CRASH_LOOP_BACK_OFF:
            key = snapshot.key.owner
            pod = f"{key.name}_{key.namespace}({key.uid})"
            text = f"Back-off restarting failed container {status.name} in pod {pod}"
            yield _event(status, EventType.WARNING, "BackOff", text)
        case Reason.UNSCHEDULABLE:
            text = waiting.message if waiting else ""
            yield PodEvent(EventType.WARNING, "FailedScheduling", text)
        case _:
            return


def _event(status: ContainerStatus, type_: EventType, reason: str, message: str) -> PodEvent:
    return PodEvent(type_, reason, message, f"spec.containers{{{status.name}}}")
