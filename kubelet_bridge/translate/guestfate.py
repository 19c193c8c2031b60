"""What an agent's report means for the Pod: when it is over, how, and what one boot leaves to the next."""

from datetime import datetime

import msgspec

from kubelet_bridge.model.core import Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod
from kubelet_bridge.model.guest import Guest, GuestContainer, GuestReport, GuestTermination
from kubelet_bridge.model.intent import Carried, Hosting, Intent
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.containerid import is_run, run_id, vmi_uid_of
from kubelet_bridge.translate.resources import is_sidecar
from kubelet_bridge.translate.vocabulary import Phase, Reason

KILLED = 137
LOST_MESSAGE = "The container could not be located when the pod was terminated"


def current(intent: Intent, guest: Guest | None) -> GuestReport | None:
    """The report of the boot that counts; one of another boot says nothing of this one."""
    report = guest.report if guest is not None else None
    return report if report is not None and intent.vmi_uid and report.boot == intent.vmi_uid else None


def told(intent: Intent, pod: Pod, guest: Guest | None) -> dict[str, GuestContainer]:
    """The containers of the boot that counts, by name: as reported, or as the Pod's status remembers them."""
    report = current(intent, guest)
    if report is not None:
        return {one.name: one for one in (*report.init_containers, *report.containers, *report.ephemeral_containers)}
    status = pod.status
    known = (*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses)
    return {one.name: found for one in known if (found := _remembered(intent, one)) is not None}


def boot_of(pod: Pod) -> str | None:
    """The boot that the Pod's status speaks of; None when no agent ran its containers."""
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return next((vmi_uid_of(one.container_id) for one in statuses if is_run(one.container_id)), None)


def is_finished(intent: Intent, guest: Guest | None) -> bool:
    """Whether nothing of the Pod runs, and nothing is to be started again."""
    report = current(intent, guest)
    return report is not None and report.finished


def phase(intent: Intent, pod: Pod, guest: Guest | None) -> Phase:
    """How a finished Pod ended (``getPhase`` in ``pkg/kubelet/kubelet_pods.go``): well, if every container did."""
    known = told(intent, pod, guest)
    needed = [*(one for one in pod.spec.init_containers if not is_sidecar(one)), *pod.spec.containers]
    return Phase.SUCCEEDED if all(_ended_well(one, known, intent) for one in needed) else Phase.FAILED


def _ended_well(container: Container, known: dict[str, GuestContainer], intent: Intent) -> bool:
    if container.name in known:
        end = known[container.name].termination
    else:
        carried = intent.carried.get(container.name)
        end = carried.end if carried is not None else None
    return end is not None and end.exit_code == 0


def carry(intent: Intent, snapshot: Snapshot, now: datetime) -> dict[str, Carried]:
    """What the containers have behind them when the next boot begins; called while ``intent`` is still at the last."""
    pod = snapshot.pod
    if pod is None or intent.hosting is Hosting.MACHINE:
        return intent.carried
    statuses = {one.name: one for one in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    known = told(intent, pod, snapshot.guest)
    return {
        one.name: _carried(intent, known.get(one.name), statuses.get(one.name), intent.carried.get(one.name), now)
        for one in (*pod.spec.init_containers, *pod.spec.containers)
    }


def _carried(
    intent: Intent, one: GuestContainer | None, status: ContainerStatus | None, before: Carried | None, now: datetime
) -> Carried:
    former = before or Carried()
    restarts = max(restart_count(status), former.restarts, one.restart_count if one is not None else 0)
    end = last_end(intent, one, now)
    if end is None:
        return Carried(restarts, former.end)
    own = msgspec.structs.replace(end, container_id=run_id(intent.vmi_uid, end.container_id))
    return Carried(restarts + 1, own)


def restart_count(status: ContainerStatus | None) -> int:
    """As the API has it."""
    return status.restart_count if status is not None and isinstance(status.restart_count, int) else 0


def _remembered(intent: Intent, status: ContainerStatus) -> GuestContainer | None:
    """The container as the Pod's own status has it: all that is left when the reports are lost."""
    if not intent.vmi_uid or vmi_uid_of(status.container_id) != intent.vmi_uid:
        return None
    state, before = status.state or ContainerState(), (status.last_state or ContainerState()).terminated
    return GuestContainer(
        status.name,
        waiting_reason=state.waiting.reason if state.waiting is not None else "",
        waiting_message=state.waiting.message if state.waiting is not None else "",
        started_at=state.running.started_at or intent.accepted_at if state.running is not None else None,
        termination=termination_of(state.terminated) if state.terminated is not None else None,
        last_termination=termination_of(before) if before is not None else None,
        restart_count=restart_count(status),
        ready=status.ready is True,
        started=status.started is True,
        image_id=status.image_id if isinstance(status.image_id, str) else "",
        container_id=status.container_id,
    )


def termination_of(end: ContainerStateTerminated) -> GuestTermination:
    """The end of a container as a status has it."""
    return GuestTermination(
        end.exit_code if isinstance(end.exit_code, int) else KILLED, end.reason, end.signal, end.message,
        end.started_at, end.finished_at, end.container_id,
    )  # fmt: skip


def last_end(intent: Intent, one: GuestContainer | None, now: datetime | None = None) -> GuestTermination | None:
    """How the container's last run in a boot that is over ended; None if it was never started in it."""
    if one is None:
        return None
    if one.termination is not None:
        return one.termination
    if one.started_at is not None:
        return machine_end(intent, one, now)
    return one.last_termination


def machine_end(intent: Intent, one: GuestContainer, now: datetime | None = None) -> GuestTermination:
    """The end of a container that ran when its machine ended: killed, whatever became of the machine."""
    end = intent.termination
    if end is None:
        return GuestTermination(
            KILLED, Reason.CONTAINER_STATUS_UNKNOWN.value, message=LOST_MESSAGE, started_at=one.started_at,
            finished_at=now, container_id=one.container_id,
        )  # fmt: skip
    out_of_memory = end.reason == Reason.OOM_KILLED
    why = f": {end.message}" if end.message else ""
    return GuestTermination(
        KILLED,
        Reason.OOM_KILLED.value if out_of_memory else Reason.ERROR.value,
        message=f"virtual machine {intent.vm_name} ended while the container ran{why}",
        started_at=one.started_at,
        finished_at=end.finished_at,
        container_id=one.container_id,
    )
