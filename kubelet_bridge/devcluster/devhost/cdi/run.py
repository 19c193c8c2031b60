"""How far the work of a Pod has come, and how its kubelet reports that. Pure.

Rules: pkg/kubelet/kuberuntime (doBackOff) in Kubernetes; what CDI reads: pkg/controller/util.go
(setAnnotationsFromPodWithPrefix) in CDI.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from kubelet_bridge.model.core import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    PodStatus,
)  # fmt: skip

_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 300.0


class Step(StrEnum):
    """Of one run of the container. ``FAILED`` has just ended with an error, ``BACKOFF`` waits to be run again.

    Before the first one, ``CREATING``: the Pod is pending until what the container needs is there.
    """

    CREATING = "creating"
    RUNNING = "running"
    FAILED = "failed"
    BACKOFF = "backoff"
    DONE = "done"


class Run(msgspec.Struct, frozen=True):
    """The work as it is now.

    Attributes:
        restarts: how often it was begun again.
        message: the termination message of the last run that ended.
        ended: when that was.
        progress: percent, of what is done.
        serving: its readiness probe would be answered; one without a probe is always serving.
    """

    step: Step = Step.CREATING
    restarts: int = 0
    message: str = ""
    ended: datetime | None = None
    progress: float = 0.0
    serving: bool = True

    @property
    def ready(self) -> bool:
        """Whether its container is."""
        return self.step is Step.RUNNING and self.serving


def backoff(restarts: int) -> float:
    """Seconds until a container that has failed is run again: the first time at once."""
    return 0.0 if restarts == 0 else min(_FIRST_BACKOFF * 2.0 ** min(restarts - 1, 10), _LONGEST_BACKOFF)


def with_run(status: PodStatus, run: Run) -> PodStatus:
    """What is reported of a Pod whose first container is at ``run``."""
    if run.step is Step.CREATING:
        return status
    first, *others = status.container_statuses
    return msgspec.structs.replace(status, container_statuses=[_container(first, run), *others])


def _container(status: ContainerStatus, run: Run) -> ContainerStatus:
    over = _terminated(status, run)
    last = ContainerState(terminated=over) if run.restarts or run.step is Step.BACKOFF else ContainerState()
    state = ContainerState(terminated=over)
    if run.step is Step.RUNNING and status.state is not None:
        state = status.state
    elif run.step is Step.BACKOFF:
        message = f"back-off {backoff(run.restarts):.0f}s restarting failed container={status.name}"
        state = ContainerState(waiting=ContainerStateWaiting("CrashLoopBackOff", message))
    return msgspec.structs.replace(
        status, state=state, last_state=last, started=run.step is Step.RUNNING, restart_count=run.restarts,
        ready=run.ready,
    )  # fmt: skip


def _terminated(status: ContainerStatus, run: Run) -> ContainerStateTerminated:
    done = run.step is Step.DONE
    state = status.state
    started = state.running.started_at if state and state.running else None
    if started is None and state and state.terminated:
        started = state.terminated.started_at
    return ContainerStateTerminated(
        exit_code=0 if done else 1, reason="Completed" if done else "Error", message=run.message,
        started_at=min(filter(None, (started, run.ended)), default=None), finished_at=run.ended,
        container_id=status.container_id,
    )  # fmt: skip
