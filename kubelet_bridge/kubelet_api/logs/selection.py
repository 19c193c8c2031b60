"""Which run of a container a request for its log is about: a function of the Pod's status.

Source: ``validateContainerLogStatus`` in ``pkg/kubelet/kubelet_pods.go``. A kubelet finds the log by the container's
id; ours are kept by the restart count, which the status has of the newest run only.
"""

import msgspec

from kubelet_bridge.kubelet_api.logs.refused import LogsRefused, quoted
from kubelet_bridge.model.core import ContainerState, ContainerStatus, Pod

_CRASH_LOOP = "CrashLoopBackOff"
_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class Run(msgspec.Struct, frozen=True):
    """One run of a container.

    Attributes:
        container_id: as the status has it.
        attempts: which restart count it had: the first of these of which there is a log, and else the first.
        running: whether more of its log may come.
    """

    container_id: str
    attempts: tuple[int, ...]
    running: bool = False


def choose(pod: Pod, container: str, *, previous: bool = False) -> Run:
    """The run that is asked for; of a container that waits to be started again, the last one.

    Raises:
        LogsRefused: 404 when the Pod has no such container, 400 when it has no such run (yet).
    """
    if not _is_in_spec(pod, container):
        raise LogsRefused(404, f"container {quoted(container)} not found in pod {quoted(pod.metadata.name)}")
    named = f"container {quoted(container)} in pod {quoted(pod.metadata.name)}"
    status = _status(pod, container)
    if status is None:
        raise LogsRefused(400, f"{named} is not available")
    state = status.state or ContainerState()
    last = status.last_state.terminated if status.last_state is not None else None
    if previous:
        if last is None or not last.container_id:
            raise LogsRefused(400, f"previous terminated {named} not found")
        return Run(last.container_id, _before(status, state))
    if state.running is not None:
        return Run(status.container_id, (_count(status),), running=True)
    if state.terminated is not None and state.terminated.container_id:
        return Run(state.terminated.container_id, (_count(status),))
    if last is not None and last.container_id:
        return Run(last.container_id, _before(status, state))
    if last is not None or state.terminated is not None:
        raise LogsRefused(400, f"{named} is terminated")
    if state.waiting is not None:
        reason = state.waiting.reason
        raise LogsRefused(400, f"{named} is waiting to start: {_WAITING.get(reason, reason)}")
    raise LogsRefused(400, f"{named} is waiting to start - no logs yet")


def _is_in_spec(pod: Pod, container: str) -> bool:
    spec = pod.spec
    return any(one.name == container for one in (*spec.containers, *spec.init_containers, *spec.ephemeral_containers))


def _status(pod: Pod, container: str) -> ContainerStatus | None:
    status = pod.status
    every = (*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses)
    return next((one for one in every if one.name == container), None)


def _before(status: ContainerStatus, state: ContainerState) -> tuple[int, ...]:
    """The restart count of the run in ``lastState``.

    One that waits counts the last run, or, in a machine that has begun anew, already the next.
    """
    count = _count(status)
    if state.waiting is None and (state.running is not None or state.terminated is not None):
        return (max(0, count - 1),)
    if state.waiting is not None and state.waiting.reason == _CRASH_LOOP:
        return (count,)
    return (count, count - 1) if count else (0,)


def _count(status: ContainerStatus) -> int:
    return status.restart_count if isinstance(status.restart_count, int) else 0
