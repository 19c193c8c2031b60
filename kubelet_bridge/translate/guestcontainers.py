"""Container statuses of a Pod whose containers an agent runs: its last report, where it is of the boot that counts.

While the agent is away its report stands, as a kubelet's does during an outage. A machine that has ended has ended
what ran in it, whatever the report says.
"""

import msgspec

from kubelet_bridge.model.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
)
from kubelet_bridge.model.guest import GuestContainer, GuestTermination
from kubelet_bridge.translate import guestfate
from kubelet_bridge.translate.containerid import run_id
from kubelet_bridge.translate.containerstatus import (
    Boot,
    View,
    allocated,
    by_name,
    lawful,
    resources_of,
    shows_end,
    terminated,
)
from kubelet_bridge.translate.resources import is_sidecar
from kubelet_bridge.translate.vocabulary import Reason, RestartPolicy

_AGENT_AWAITED = "waiting for the agent in the virtual machine"


def main_statuses(view: View) -> list[ContainerStatus]:
    """One status for each container, in the order of the spec."""
    known, told = by_name(view.pod.status.container_statuses), _told_by_name(view)
    return [_status(view, one, told.get(one.name), known.get(one.name)) for one in view.pod.spec.containers]


def init_statuses(view: View) -> list[ContainerStatus]:
    """One status for each init container, sidecars included."""
    known, told = by_name(view.pod.status.init_container_statuses), _told_by_name(view)
    return [_init_status(view, one, told.get(one.name), known.get(one.name)) for one in view.pod.spec.init_containers]


def ephemeral_statuses(view: View) -> list[ContainerStatus]:
    """One status for each ephemeral container; it has no probes, and its end is for ever."""
    known, told = by_name(view.pod.status.ephemeral_container_statuses), _told_by_name(view)
    containers = view.pod.spec.ephemeral_containers
    return [_ephemeral(view, one, told.get(one.name), known.get(one.name)) for one in containers]


def have_begun(pod: Pod, init: list[ContainerStatus], main: list[ContainerStatus]) -> bool:
    """Whether the Pod is past ``Pending``: it is initialized, and every container has been started once.

    Source: ``getPhase`` in ``pkg/kubelet/kubelet_pods.go``.
    """
    sidecars = {one.name for one in pod.spec.init_containers if is_sidecar(one)}
    initialized = all(one.started if one.name in sidecars else one.ready is True for one in init)
    return initialized and not any(_never_started(one) for one in main)


def _never_started(status: ContainerStatus) -> bool:
    waits = status.state is None or status.state.waiting is not None
    return waits and (status.last_state is None or status.last_state.terminated is None)


def _told_by_name(view: View) -> dict[str, GuestContainer]:
    return guestfate.told(view.intent, view.pod, view.snapshot.guest)


def _init_status(
    view: View, container: Container, told: GuestContainer | None, known: ContainerStatus | None
) -> ContainerStatus:
    made = _status(view, container, told, known)
    if is_sidecar(container):
        return made
    end = terminated(made)
    return msgspec.structs.replace(made, ready=end is not None and end.exit_code == 0)


def _ephemeral(
    view: View, container: Container, told: GuestContainer | None, known: ContainerStatus | None
) -> ContainerStatus:
    if known is not None and terminated(known) is not None:
        return known
    made = _status(view, container, told, known)
    return msgspec.structs.replace(made, ready=False)


def _status(
    view: View, container: Container, told: GuestContainer | None, known: ContainerStatus | None
) -> ContainerStatus:
    state = lawful(view, container, known, _state(view, container, told))
    runs = state.running is not None
    return ContainerStatus(
        name=container.name,
        ready=runs and told is not None and told.ready and view.serves,
        restart_count=_restart_count(view, container, told, known),
        image=told.image if told is not None and told.image else container.image,
        image_id=_image_id(told, known),
        container_id=_container_id(view, told, known),
        state=state,
        last_state=_last_state(view, container, told, state, known),
        started=runs and told is not None and told.started,
        resources=resources_of(view, container),
        allocated_resources=allocated(view, container),
    )


def _state(view: View, container: Container, told: GuestContainer | None) -> ContainerState:
    if _is_over(view, container, told):
        carried = view.intent.carried[container.name].end
        return _terminated(view, carried)
    if view.finished:
        return _final(view, told)
    match view.boot:
        case Boot.ENDED:
            end = guestfate.last_end(view.intent, told)
            shown = end is not None and (told is None or told.waiting_reason == "") and shows_end(view)
            return _terminated(view, end) if shown else ContainerState(waiting=view.waiting)
        case Boot.WAITING:
            return ContainerState(waiting=view.waiting)
        case _:
            return _told(view, container, told)


def _is_over(view: View, container: Container, told: GuestContainer | None) -> bool:
    """Whether it succeeded in an earlier boot and is not run again (``manifest.is_over``)."""
    carried = view.intent.carried.get(container.name)
    done = carried is not None and carried.end is not None and carried.end.exit_code == 0
    is_main = container in view.pod.spec.containers
    return done and told is None and is_main and view.pod.spec.restart_policy == RestartPolicy.ON_FAILURE


def _told(view: View, container: Container, told: GuestContainer | None) -> ContainerState:
    """What the agent says of a container in a machine that runs."""
    if told is None:
        return ContainerState(waiting=_awaited(view, container))
    if told.termination is not None:
        return _terminated(view, told.termination)
    if told.started_at is not None:
        return ContainerState(running=ContainerStateRunning(told.started_at))
    report = guestfate.current(view.intent, view.snapshot.guest)
    message = told.waiting_message or (report.message if report is not None else "")
    return ContainerState(waiting=ContainerStateWaiting(told.waiting_reason or _creating(view, container), message))


def _awaited(view: View, container: Container) -> ContainerStateWaiting:
    return ContainerStateWaiting(_creating(view, container), _AGENT_AWAITED)


def _creating(view: View, container: Container) -> str:
    after_others = view.pod.spec.init_containers and container not in view.pod.spec.ephemeral_containers
    return Reason.POD_INITIALIZING if after_others else Reason.CONTAINER_CREATING


def _final(view: View, told: GuestContainer | None) -> ContainerState:
    """How it ended, now that nothing of the Pod runs.

    What never started in a Pod that was never initialized goes on waiting (``TerminatePod`` in
    ``pkg/kubelet/status/status_manager.go``); else its end was missed.
    """
    end = guestfate.last_end(view.intent, told)
    if end is not None:
        return _terminated(view, end)
    if told is not None and _uninitialized(view):
        return ContainerState(waiting=ContainerStateWaiting(told.waiting_reason, told.waiting_message))
    missed = GuestTermination(guestfate.KILLED, Reason.CONTAINER_STATUS_UNKNOWN.value, message=guestfate.LOST_MESSAGE)
    return _terminated(view, missed)


def _uninitialized(view: View) -> bool:
    report = guestfate.current(view.intent, view.snapshot.guest)
    if report is None:
        return False
    incomplete = {one.name for one in report.init_containers if one.termination is None or one.termination.exit_code}
    needed = {one.name for one in view.pod.spec.init_containers if not is_sidecar(one)}
    return bool(incomplete & needed)


def _terminated(view: View, end: GuestTermination | None) -> ContainerState:
    if end is None:
        return ContainerState()
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=end.exit_code,
            signal=end.signal,
            reason=end.reason or (Reason.ERROR if end.exit_code else Reason.COMPLETED).value,
            message=end.message,
            started_at=end.started_at,
            finished_at=end.finished_at,
            container_id=run_id(view.intent.vmi_uid, end.container_id),
        )
    )


def _last_state(
    view: View, container: Container, told: GuestContainer | None, state: ContainerState, known: ContainerStatus | None
) -> ContainerState:
    """The end before the run that ``state`` tells of."""
    ended_now = view.boot is Boot.ENDED and state.terminated is None
    if ended_now and (end := guestfate.last_end(view.intent, told)) is not None:
        return _terminated(view, end)
    if told is not None and told.last_termination is not None:
        return _terminated(view, told.last_termination)
    carried = view.intent.carried.get(container.name)
    if carried is not None and carried.end is not None and not _is_over(view, container, told):
        return _terminated(view, carried.end)
    return known.last_state or ContainerState() if known is not None else ContainerState()


def _restart_count(view: View, container: Container, told: GuestContainer | None, known: ContainerStatus | None) -> int:
    carried = view.intent.carried.get(container.name)
    if told is None:  # the next run is counted when it has begun: the last one may be all there was
        return max(guestfate.restart_count(known), carried.restarts - 1 if carried is not None and carried.end else 0)
    return max(guestfate.restart_count(known), told.restart_count)


def _container_id(view: View, told: GuestContainer | None, known: ContainerStatus | None) -> str:
    if told is not None and told.container_id:
        return run_id(view.intent.vmi_uid, told.container_id)
    return known.container_id if known is not None else ""


def _image_id(told: GuestContainer | None, known: ContainerStatus | None) -> str:
    if told is not None and told.image_id:
        return told.image_id
    return known.image_id if known is not None and isinstance(known.image_id, str) else ""
