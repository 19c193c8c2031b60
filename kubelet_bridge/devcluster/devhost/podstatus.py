"""What a kubelet reports of a Pod, as a pure function of the Pod and of how far it has come on this host.

Rules: pkg/kubelet/kubelet_pods.go (getPhase, convertStatusToAPIStatus), pkg/kubelet/status/generate.go in Kubernetes.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Ip,
    Pod,
    PodStatus,
)  # fmt: skip
from kubelet_bridge.model.meta import Condition

COMPUTE = "compute"
_KILLED = 137


class Stage(StrEnum):
    """How far a Pod has come on this host."""

    PULLING = "pulling"
    PULL_FAILED = "pull-failed"
    RUNNING = "running"
    ENDED = "ended"


class PodView(msgspec.Struct, frozen=True):
    """What the host knows of a Pod.

    Attributes:
        ready: whether its main containers pass their readiness probes.
        exit_code: of its main containers, once ``ENDED``.
        pull_reason: ``ErrImagePull`` or ``ImagePullBackOff``, when ``PULL_FAILED``.
        failing_images: those that cannot be pulled.
    """

    stage: Stage
    host_ip: str
    pod_ip: str = ""
    ready: bool = True
    exit_code: int = 0
    pull_reason: str = "ErrImagePull"
    failing_images: frozenset[str] = frozenset()


def images(pod: Pod) -> list[str]:
    """Every image the Pod needs, those of image volumes too."""
    volumes = [str((volume.get("image") or {}).get("reference", "")) for volume in pod.spec.volumes]
    containers = [container.image for container in (*pod.spec.init_containers, *pod.spec.containers)]
    return [image for image in (*containers, *volumes) if image]


def pod_status(pod: Pod, view: PodView, now: datetime) -> PodStatus:
    """The fields of ``status`` that a kubelet owns. Times that are already reported stay."""
    init, main = _containers(pod, view, now)
    status = PodStatus(
        phase=_phase(view),
        start_time=pod.status.start_time or now,
        host_ip=view.host_ip,
        host_ips=[Ip(view.host_ip)],
        pod_ip=view.pod_ip,
        pod_ips=[Ip(view.pod_ip)] if view.pod_ip else [],
        container_statuses=main,
        init_container_statuses=init,
        observed_generation=pod.metadata.generation,
    )
    return msgspec.structs.replace(status, conditions=_conditions(pod, view, main, init, now))


def differs(pod: Pod, wanted: PodStatus) -> bool:
    """Whether the reported status says something else than ``wanted`` about what a kubelet owns."""
    own = {condition.type for condition in wanted.conditions}
    reported = [condition for condition in pod.status.conditions if condition.type in own]
    current = msgspec.structs.replace(
        pod.status, conditions=sorted(reported, key=_by_type), qos_class="", reason="", message=""
    )
    return current != msgspec.structs.replace(wanted, conditions=sorted(wanted.conditions, key=_by_type))


def status_patch(pod: Pod, wanted: PodStatus) -> dict[str, Any]:
    """A strategic merge patch: others' conditions stay, and only this incarnation of the Pod is meant.

    Conditions merge field by field: a reason that no longer holds must be taken away by a null.
    """
    status: dict[str, Any] = msgspec.to_builtins(wanted, builtin_types=(datetime,))
    for condition in status["conditions"]:
        condition |= {"reason": condition.get("reason"), "message": condition.get("message")}
    return {"metadata": {"uid": pod.metadata.uid}, "status": status}


def _by_type(condition: Condition) -> str:
    return condition.type


def _phase(view: PodView) -> str:
    match view.stage:
        case Stage.PULLING | Stage.PULL_FAILED:
            return "Pending"
        case Stage.RUNNING:
            return "Running"
        case Stage.ENDED:
            return "Succeeded" if view.exit_code == 0 else "Failed"


def _containers(pod: Pod, view: PodView, now: datetime) -> tuple[list[ContainerStatus], list[ContainerStatus]]:
    match view.stage:
        case Stage.PULLING | Stage.PULL_FAILED:
            return _waiting(pod, view)
        case Stage.RUNNING | Stage.ENDED:
            return _started(pod, view, now)


def _waiting(pod: Pod, view: PodView) -> tuple[list[ContainerStatus], list[ContainerStatus]]:
    """Nothing runs yet. The first container whose image (or image volume) fails says so: nothing after it is tried."""
    volumes = {
        str(volume["name"]): str((volume.get("image") or {}).get("reference", "")) for volume in pod.spec.volumes
    }
    default = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    blamed = False

    def status(container: Container) -> ContainerStatus:
        nonlocal blamed
        needed = [container.image, *(volumes.get(mount.name, "") for mount in container.volume_mounts)]
        failing = next((image for image in needed if image in view.failing_images), None)
        if failing is None or blamed:
            return _status(container, ContainerState(waiting=ContainerStateWaiting(default)))
        blamed = True
        waiting = ContainerStateWaiting(view.pull_reason, _pull_message(view, failing))
        return _status(container, ContainerState(waiting=waiting))

    init = [status(container) for container in pod.spec.init_containers]
    return init, [status(container) for container in pod.spec.containers]


def _pull_message(view: PodView, image: str) -> str:
    if view.pull_reason == "ImagePullBackOff":
        return f'Back-off pulling image "{image}": ErrImagePull: {image}: not found'
    return f'failed to pull and unpack image "{image}": {image}: not found'


def _started(pod: Pod, view: PodView, now: datetime) -> tuple[list[ContainerStatus], list[ContainerStatus]]:
    before = {status.name: status for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    ended = view.stage is Stage.ENDED

    def status(container: Container, *, done: bool, ready: bool, code: int) -> ContainerStatus:
        identity = f"dev-host://{hashlib.sha256(f'{pod.metadata.uid}/{container.name}'.encode()).hexdigest()}"
        since = _since(before.get(container.name), now)
        state = _ended(before.get(container.name), identity, since, now, code) if done else _running(since)
        return _status(container, state, identity=identity, ready=ready, started=not done)

    init = [
        status(container, done=ended or not sidecar, ready=not (ended and sidecar), code=0)
        for container in pod.spec.init_containers
        for sidecar in (container.restart_policy == "Always",)
    ]
    launcher = any(container.name == COMPUTE for container in pod.spec.containers)
    main = [
        status(container, done=ended, ready=not ended and (view.ready or aside), code=view.exit_code)
        for container in pod.spec.containers
        for aside in (launcher and container.name != COMPUTE,)  # only the guest's own container waits for the guest
    ]
    return init, main


def _since(before: ContainerStatus | None, now: datetime) -> datetime:
    state = before.state if before else None
    if state and state.running and state.running.started_at:
        return state.running.started_at
    if state and state.terminated and state.terminated.started_at:
        return state.terminated.started_at
    return now


def _running(since: datetime) -> ContainerState:
    return ContainerState(running=ContainerStateRunning(since))


def _ended(before: ContainerStatus | None, identity: str, since: datetime, now: datetime, code: int) -> ContainerState:
    if before and before.state and before.state.terminated:
        return before.state
    reason = "Completed" if code == 0 else "Error"
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=code, reason=reason, started_at=since, finished_at=now, container_id=identity
        )
    )


def _status(
    container: Container, state: ContainerState, *, identity: str = "", ready: bool = False, started: bool = False
) -> ContainerStatus:
    return ContainerStatus(
        name=container.name,
        ready=ready,
        restart_count=0,
        image=container.image,
        image_id=image_id(container.image) if identity else "",
        container_id=identity,
        state=state,
        last_state=ContainerState(),
        started=started,
    )


def image_id(image: str) -> str:
    """``NAME@sha256:…``: a migration's target Pod is made from the digest in the source's (container-disk.go)."""
    return f"{image.partition('@')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _conditions(
    pod: Pod, view: PodView, main: list[ContainerStatus], init: list[ContainerStatus], now: datetime
) -> list[Condition]:
    started = view.stage in (Stage.RUNNING, Stage.ENDED)
    over = {Stage.ENDED: "PodCompleted" if view.exit_code == 0 else "PodFailed"}.get(view.stage)
    sidecars = {container.name for container in pod.spec.init_containers if container.restart_policy == "Always"}
    unready = [status.name for status in (*(s for s in init if s.name in sidecars), *main) if status.ready is not True]
    containers = over or ("ContainersNotReady" if unready else "")
    message = f"containers with unready status: [{' '.join(unready)}]" if containers == "ContainersNotReady" else ""
    gates = "" if containers else _failing_gates(pod)
    begun = ("", "") if started else ("ContainersNotInitialized", _incomplete(pod))
    ready = (containers, message) if containers else ("ReadinessGatesNotReady" if gates else "", gates)
    return [
        _condition(pod, now, "PodReadyToStartContainers", view.stage is Stage.RUNNING),
        _condition(pod, now, "Initialized", started, *begun),
        _condition(pod, now, "Ready", not ready[0], *ready),
        _condition(pod, now, "ContainersReady", not containers, containers, message),
        _condition(pod, now, "PodScheduled", True),
    ]


def _incomplete(pod: Pod) -> str:
    return f"containers with incomplete status: [{' '.join(container.name for container in pod.spec.init_containers)}]"


def _failing_gates(pod: Pod) -> str:
    """The kubelet's message about readiness gates that are not True; empty when all are."""
    status = {condition.type: condition.status for condition in pod.status.conditions}
    gates = (gate.get("conditionType", "") for gate in pod.spec.readiness_gates)
    messages = list[str]()
    for gate in gates:
        if gate not in status:
            messages.append(f'corresponding condition of pod readiness gate "{gate}" does not exist.')
        elif status[gate] != "True":
            messages.append(f'the status of pod readiness gate "{gate}" is not "True", but {status[gate]}')
    return ", ".join(messages)


def _condition(pod: Pod, now: datetime, type_: str, true: bool, reason: str = "", message: str = "") -> Condition:
    value = "True" if true else "False"
    before = next((condition for condition in pod.status.conditions if condition.type == type_), None)
    since = before.last_transition_time if before and before.status == value else now
    return Condition(
        type=type_, status=value, reason=reason, message=message, last_transition_time=since,
        observed_generation=pod.metadata.generation,
    )  # fmt: skip
