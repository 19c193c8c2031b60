"""Container statuses of a Pod that is one VM: every container lives and dies with the boot it is in.

States obey the API server's rule that a container may leave ``terminated`` only when its restart policy lets it
(``ValidateContainerStateTransition`` in Kubernetes' ``pkg/apis/core/validation``).
"""

from datetime import datetime
from enum import Enum, auto

import msgspec

from kubelet_bridge.model.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    ResourceRequirements,
)
from kubelet_bridge.model.intent import Intent, Termination
from kubelet_bridge.model.kubevirt import VmiPhase
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.containerid import container_id
from kubelet_bridge.translate.launcher import disk_image, holds, paused
from kubelet_bridge.translate.observe import lost
from kubelet_bridge.translate.resources import is_sidecar
from kubelet_bridge.translate.vocabulary import Reason, RestartPolicy

_NO_AGENT = "an ephemeral container needs an agent in the guest, and there is none"


class Boot(Enum):
    """What the boot that counts is doing."""

    WAITING = auto()
    RUNNING = auto()
    ENDED = auto()
    UNSEEN = auto()


class View(msgspec.Struct, frozen=True):
    """What one round of statuses is made from.

    Attributes:
        waiting: why containers wait, should they.
        finished: nothing of the VM runs, and nothing will.
        now: whole seconds, as the API server keeps them.
    """

    snapshot: Snapshot
    pod: Pod
    intent: Intent
    waiting: ContainerStateWaiting
    finished: bool
    now: datetime

    @property
    def boot(self) -> Boot:
        """What the current boot is doing; ``UNSEEN`` when it ran and its instance is missing, which proves nothing."""
        if self.intent.termination is not None:
            return Boot.ENDED
        vmi = self.snapshot.vmi
        if vmi is not None and vmi.phase in (VmiPhase.RUNNING, VmiPhase.UNKNOWN) and self.intent.vmi_started:
            return Boot.RUNNING
        absent = vmi is None and self.snapshot.vm is not None
        return Boot.UNSEEN if absent and self.intent.vmi_started else Boot.WAITING

    @property
    def container_id(self) -> str:
        """Of the current boot, once it ran; of the next as soon as there is one: a restart is told by its id."""
        intent = self.intent
        known = intent.vmi_started or intent.termination is not None or intent.restart_count > 0
        return container_id(intent.vmi_uid) if known else ""

    @property
    def ready(self) -> bool:
        """Whether the guest serves: KubeVirt's ``Ready`` follows the launcher's probes."""
        vmi = self.snapshot.vmi
        return vmi is not None and self.serves and holds(vmi.status.conditions, "Ready")

    @property
    def serves(self) -> bool:
        """Whether the VM runs and is not about to end: what else a container that an agent probes has to be ready."""
        vmi = self.snapshot.vmi
        if vmi is None or vmi.phase is not VmiPhase.RUNNING or self.intent.outcome:
            return False
        return vmi.metadata.deletion_timestamp is None and paused(vmi) is None


def main_statuses(view: View) -> list[ContainerStatus]:
    """One status for each container, in the order of the spec."""
    known = by_name(view.pod.status.container_statuses)
    return [_status(view, one, known.get(one.name)) for one in view.pod.spec.containers]


def init_statuses(view: View) -> list[ContainerStatus]:
    """One status for each init container: sidecars run with the VM, the others were over when it ran."""
    known = by_name(view.pod.status.init_container_statuses)
    return [
        _status(view, one, known.get(one.name)) if is_sidecar(one) else _init_status(view, one, known.get(one.name))
        for one in view.pod.spec.init_containers
    ]


def ephemeral_statuses(view: View) -> list[ContainerStatus]:
    """One status for each ephemeral container; none of them can run yet."""
    waiting = ContainerStateWaiting(Reason.CREATE_CONTAINER_ERROR, _NO_AGENT)
    return [
        ContainerStatus(
            name=one.name, ready=False, restart_count=0, image=one.image, image_id="",
            state=ContainerState(waiting=waiting), last_state=ContainerState(), started=False,
        )
        for one in view.pod.spec.ephemeral_containers
    ]  # fmt: skip


def terminated(status: ContainerStatus) -> ContainerStateTerminated | None:
    """How the container ended, if it did."""
    return status.state.terminated if status.state is not None else None


def running(status: ContainerStatus) -> bool:
    """Whether the container runs."""
    return status.state is not None and status.state.running is not None


def _status(view: View, container: Container, known: ContainerStatus | None) -> ContainerStatus:
    state = lawful(view, container, known, _state(view, known))
    same = known is not None and known.container_id == view.container_id
    return ContainerStatus(
        name=container.name,
        ready=state.running is not None and view.ready,
        restart_count=max(view.intent.restart_count, _count(known)),
        image=container.image,
        image_id=_image_id(view, container, state, known if same else None),
        container_id=view.container_id,
        state=state,
        last_state=_last_state(view, state),
        started=state.running is not None,
        resources=resources_of(view, container),
        allocated_resources=allocated(view, container),
    )


def _state(view: View, known: ContainerStatus | None) -> ContainerState:
    ended = view.intent.termination
    if view.finished:
        return _terminated(ended or lost(view.intent.vmi_uid))
    match view.boot:
        case Boot.RUNNING:
            return ContainerState(running=_running(view, known))
        case Boot.ENDED if ended is not None and shows_end(view):
            return _terminated(ended)
        case Boot.UNSEEN if known is not None and running(known) and view.waiting.reason in _UNREMARKABLE:
            return known.state or ContainerState()
        case _:
            return ContainerState(waiting=view.waiting)


_UNREMARKABLE = (Reason.CONTAINER_CREATING, Reason.POD_INITIALIZING)


def shows_end(view: View) -> bool:
    """The kubelet shows ``terminated`` until it backs off. What is switched off may come back, which that forbids."""
    return view.waiting.reason not in (Reason.CRASH_LOOP_BACK_OFF, Reason.POWERED_OFF)


def lawful(view: View, container: Container, known: ContainerStatus | None, state: ContainerState) -> ContainerState:
    """``state``, unless the API server would refuse the step from the one it has."""
    former = terminated(known) if known is not None else None
    if known is None or known.state is None or former is None or state.terminated is not None:
        return state
    return state if _restarts(view.pod, container, former) else known.state


def _restarts(pod: Pod, container: Container, end: ContainerStateTerminated) -> bool:
    policy = container.restart_policy or pod.spec.restart_policy
    return policy == RestartPolicy.ALWAYS or (policy == RestartPolicy.ON_FAILURE and end.exit_code != 0)


def _running(view: View, known: ContainerStatus | None) -> ContainerStateRunning:
    vmi = view.snapshot.vmi
    since = vmi.reached(VmiPhase.RUNNING) if vmi is not None else None
    if since is None and known is not None and known.container_id == view.container_id:
        since = known.state.running.started_at if known.state is not None and known.state.running is not None else None
    return ContainerStateRunning(since or view.now)


def _terminated(end: Termination) -> ContainerState:
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=end.exit_code,
            reason=end.reason,
            message=end.message,
            started_at=end.started_at,
            finished_at=end.finished_at,
            container_id=container_id(end.vmi_uid),
        )
    )


def _last_state(view: View, state: ContainerState) -> ContainerState:
    ended = view.intent.termination
    former = ended if ended is not None and state.terminated is None else view.intent.last_termination
    return _terminated(former) if former is not None else ContainerState()


def _image_id(view: View, container: Container, state: ContainerState, known: ContainerStatus | None) -> str:
    """What the container runs from; like the kubelet's, it comes with the container and not while that waits."""
    boots = state.waiting is None and container == view.pod.spec.containers[0]
    visible = disk_image(view.snapshot.active_launcher, container.image) if boots else ""
    if visible or known is None:
        return visible
    return known.image_id if isinstance(known.image_id, str) else ""


def _count(known: ContainerStatus | None) -> int:
    return known.restart_count if known is not None and isinstance(known.restart_count, int) else 0


def resources_of(view: View, container: Container) -> ResourceRequirements:
    """What the container has: what was promised, and the limits that go with it.

    Never absent: without it the API server refuses every resize ("Pod running on node without support for resize").
    """
    return msgspec.structs.replace(container.resources, requests=allocated(view, container))


def allocated(view: View, container: Container) -> dict[str, str | int | float]:
    """What was promised to the container."""
    promised = view.intent.allocation.requests.get(container.name)
    return {**promised} if promised is not None else {**container.resources.requests}


def _init_status(view: View, container: Container, known: ContainerStatus | None) -> ContainerStatus:
    """Over once the VM ran, and for ever: a terminated init container may not wait again."""
    vmi = view.snapshot.vmi
    over = view.boot is Boot.RUNNING or view.intent.restart_count > 0 or view.intent.termination is not None
    if known is not None and terminated(known) is not None:
        return known
    if over:
        started = vmi.reached(VmiPhase.SCHEDULED) if vmi is not None else None
        finished = vmi.reached(VmiPhase.RUNNING) if vmi is not None else None
        end = Termination(view.intent.vmi_uid, 0, Reason.COMPLETED.value, "", started, finished or view.now)
        state = _terminated(end)
    else:
        state = ContainerState(waiting=ContainerStateWaiting(Reason.POD_INITIALIZING))
    return ContainerStatus(
        name=container.name, ready=over, restart_count=0, image=container.image, image_id="",
        container_id=view.container_id if over else "", state=state, last_state=ContainerState(),
        started=False, resources=container.resources, allocated_resources={**container.resources.requests},
    )  # fmt: skip


def by_name(statuses: list[ContainerStatus]) -> dict[str, ContainerStatus]:
    """The statuses by the names of their containers."""
    return {status.name: status for status in statuses}
