"""What a VM, its instance and its launcher show, folded into the durable intent: restarts, endings, the final phase.

KubeVirt forgets (an instance that ended is deleted, except under ``Once``), a Pod must not: the intent remembers.
"""

from datetime import datetime, timedelta

import msgspec

from kubelet_bridge.model.core import ContainerStateTerminated, Pod
from kubelet_bridge.model.intent import Hosting, Intent, IntentStatus, Termination
from kubelet_bridge.model.kubevirt import Launcher, PrintableStatus, VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import guestfate
from kubelet_bridge.translate.containerid import is_run, vmi_uid_of
from kubelet_bridge.translate.launcher import complaint, compute_end, ended_at, evicted
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase, Reason, RestartPolicy, RunStrategy
from kubelet_bridge.translate.waiting import deleting, powered_off

_KILLED = 137
_MAX_MESSAGE = 4096
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


def observe(intent: Intent, snapshot: Snapshot, now: datetime) -> Intent:
    """``intent`` as it is after a look at ``snapshot``; looking twice changes nothing more.

    A final phase, once decided, stays: neither a later boot nor a vanished VM takes it back.
    """
    now = now.replace(microsecond=0)
    intent = _recall(intent, snapshot.pod)
    if snapshot.vm is not None:
        intent = msgspec.structs.replace(intent, vm_uid=snapshot.vm.metadata.uid)
    if snapshot.vmi is not None:
        intent = _follow(intent, snapshot, snapshot.vmi, now)
    if snapshot.pod is not None and not intent.outcome:
        intent = _conclude(intent, snapshot, snapshot.pod, now)
    return msgspec.structs.replace(intent, status=_status(intent, snapshot))


def _recall(intent: Intent, pod: Pod | None) -> Intent:
    """What the Pod's own status remembers: all that is left of the past after the database was lost."""
    if pod is None:
        return intent
    if pod.status.phase in TERMINAL and not intent.outcome:
        intent = msgspec.structs.replace(
            intent,
            outcome=pod.status.phase,
            outcome_reason=pod.status.reason,
            outcome_message=pod.status.message,
        )
    if intent.vmi_uid:
        return intent
    if (boot := guestfate.boot_of(pod)) is not None:
        return msgspec.structs.replace(intent, vmi_uid=boot, vmi_started=True)
    reported = next(iter(pod.status.container_statuses), None)
    if reported is None or not vmi_uid_of(reported.container_id) or is_run(reported.container_id):
        return intent
    state, former = reported.state, reported.last_state
    return msgspec.structs.replace(
        intent,
        vmi_uid=vmi_uid_of(reported.container_id),
        vmi_started=state is not None and state.waiting is None,
        restart_count=reported.restart_count if isinstance(reported.restart_count, int) else 0,
        termination=_remembered(state.terminated if state else None),
        last_termination=_remembered(former.terminated if former else None),
    )


def _remembered(end: ContainerStateTerminated | None) -> Termination | None:
    if end is None or not isinstance(end.exit_code, int):
        return None
    return Termination(
        vmi_uid=vmi_uid_of(end.container_id),
        exit_code=end.exit_code,
        reason=end.reason,
        message=end.message,
        started_at=end.started_at,
        finished_at=end.finished_at,
    )


def _follow(intent: Intent, snapshot: Snapshot, vmi: VirtualMachineInstance, now: datetime) -> Intent:
    if vmi.metadata.uid != intent.vmi_uid:
        if intent.outcome or _is_former(intent, vmi):
            return intent
        if intent.vmi_uid and _policy(snapshot.pod) == RestartPolicy.NEVER:
            return _stopped_by_others(intent)
        intent = _next_boot(intent, snapshot, vmi.metadata.uid, now)
    launcher = snapshot.active_launcher
    intent = msgspec.structs.replace(
        intent,
        vmi_started=intent.vmi_started or vmi.reached(VmiPhase.RUNNING) is not None or vmi.phase is VmiPhase.RUNNING,
        vmi_stopping=intent.vmi_stopping or _asked_to_stop(vmi, launcher),
    )
    if not vmi.phase.final or _withdrawn(intent, snapshot, vmi):
        return intent
    return msgspec.structs.replace(intent, termination=_termination(intent, vmi, launcher, now))


def _withdrawn(intent: Intent, snapshot: Snapshot, vmi: VirtualMachineInstance) -> bool:
    """Taken back before it ran, or given up for a disk, and another comes: what was never started has not ended.

    virt-controller fails an instance at once when CDI has given up one of its disks, and makes the next one.
    """
    another_comes = _policy(snapshot.pod) is not RestartPolicy.NEVER and vmi.phase is VmiPhase.FAILED
    return another_comes and (intent.vmi_stopping or bool(snapshot.disks)) and not intent.vmi_started


def _is_former(intent: Intent, vmi: VirtualMachineInstance) -> bool:
    """A relist from a lagging API server may show the boot before; that is not another restart."""
    return intent.last_termination is not None and intent.last_termination.vmi_uid == vmi.metadata.uid


def _next_boot(intent: Intent, snapshot: Snapshot, uid: str, now: datetime) -> Intent:
    if not (intent.vmi_started or intent.termination):  # replaced before it ran: nothing was started, or restarted
        return msgspec.structs.replace(intent, vmi_uid=uid, vmi_stopping=False)
    return msgspec.structs.replace(
        intent,
        vmi_uid=uid,
        vmi_started=False,
        vmi_stopping=False,
        carried=guestfate.carry(intent, snapshot, now),
        restart_count=intent.restart_count + 1,
        last_termination=intent.termination or lost(intent.vmi_uid, now),
        termination=None,
    )


def lost(vmi_uid: str, now: datetime | None = None) -> Termination:
    """The end of a boot that nobody saw, as the kubelet reports one (``pkg/kubelet/kubelet_pods.go``)."""
    return Termination(
        vmi_uid=vmi_uid,
        exit_code=_KILLED,
        reason=Reason.CONTAINER_STATUS_UNKNOWN.value,
        message="The container could not be located when the pod was terminated",
        finished_at=now,
    )


def _asked_to_stop(vmi: VirtualMachineInstance, launcher: Launcher | None) -> bool:
    """Whether somebody deleted the instance or evicted its launcher before the guest ended by itself.

    virt-controller deletes an instance that ended, too: only a deletion that came before the end counts.
    """
    asked, ended = vmi.metadata.deletion_timestamp, ended_at(vmi)
    if vmi.phase.final:
        return asked is not None and ended is not None and asked < ended
    return asked is not None or evicted(launcher)


def _termination(intent: Intent, vmi: VirtualMachineInstance, launcher: Launcher | None, now: datetime) -> Termination:
    """How the boot ended: KubeVirt tells success from failure, only the launcher's container has an exit code.

    The launcher may tell it after the VMI did, and is gone soon after: the first precise answer is kept.
    """
    known, compute = intent.termination, compute_end(launcher)
    told = _told(compute) if vmi.phase is VmiPhase.FAILED else None
    if known is not None and told in (None, known.exit_code):
        return known
    exit_code = told or _by_phase(vmi, stopping=intent.vmi_stopping)
    out_of_memory = told is not None and compute is not None and compute.reason == Reason.OOM_KILLED
    failure = Reason.OOM_KILLED if out_of_memory else Reason.ERROR
    seen = known.finished_at if known is not None else now
    return Termination(
        vmi_uid=vmi.metadata.uid,
        exit_code=exit_code,
        reason=failure.value if exit_code else Reason.COMPLETED.value,
        message=_last_words(vmi, launcher, compute) if exit_code else "",
        started_at=vmi.reached(VmiPhase.RUNNING),
        finished_at=ended_at(vmi) or (compute.finished_at if compute else None) or seen,
    )


def _told(compute: ContainerStateTerminated | None) -> int | None:
    """The exit code of a failed boot as the launcher has it; it may well end with 0 after its guest has panicked."""
    if compute is None:
        return None
    if compute.reason == Reason.OOM_KILLED:
        return _KILLED
    return compute.exit_code or None if isinstance(compute.exit_code, int) else None


def _by_phase(vmi: VirtualMachineInstance, *, stopping: bool) -> int:
    """A guest that was told to stop and failed did not stop within its grace period, and was killed."""
    if vmi.phase is VmiPhase.SUCCEEDED:
        return 0
    return _KILLED if stopping else 1


def _last_words(
    vmi: VirtualMachineInstance, launcher: Launcher | None, compute: ContainerStateTerminated | None
) -> str:
    unsynchronized = complaint(vmi.status.conditions, "Synchronized")
    candidates = (
        compute.message if compute else "",
        unsynchronized.message if unsynchronized else "",
        launcher.status.message if launcher else "",
        vmi.status.reason,
    )
    return next((words for words in candidates if words), "")[:_MAX_MESSAGE]


def _conclude(intent: Intent, snapshot: Snapshot, pod: Pod, now: datetime) -> Intent:
    if intent.hosting is not Hosting.MACHINE:
        intent = _by_agent(intent, snapshot, pod, now)
    elif _policy(pod) is RestartPolicy.NEVER:
        intent = _never_again(intent, snapshot)
    elif _policy(pod) is RestartPolicy.ON_FAILURE:
        intent = _until_success(intent, snapshot, now)
    limit = pod.spec.active_deadline_seconds
    if not intent.outcome and limit is not None and now >= intent.accepted_at + timedelta(seconds=limit):
        return _failed(intent, Reason.DEADLINE_EXCEEDED, DEADLINE_MESSAGE)
    return intent


def _by_agent(intent: Intent, snapshot: Snapshot, pod: Pod, now: datetime) -> Intent:
    """Containers end a Pod, as the agent reports them; a machine that ends before them fails it, however it ended."""
    policy = _policy(pod)
    restarts = policy is RestartPolicy.ALWAYS and not deleting(pod)
    if guestfate.is_finished(intent, snapshot.guest) and not restarts:
        return _ended(intent, guestfate.phase(intent, pod, snapshot.guest))
    match policy:
        case RestartPolicy.NEVER:
            return _over_too_soon(intent, snapshot)
        case RestartPolicy.ON_FAILURE:
            return _switched_off(intent, snapshot, now)
        case RestartPolicy.ALWAYS:
            return intent


def _over_too_soon(intent: Intent, snapshot: Snapshot) -> Intent:
    if intent.termination is None:
        return intent
    if intent.vmi_stopping:
        return _never_again(intent, snapshot)
    return _machine_ended(intent, intent.termination.message)


def _switched_off(intent: Intent, snapshot: Snapshot, now: datetime) -> Intent:
    """``RerunOnFailure`` starts nothing again that ended well, as a guest does that is switched off from inside."""
    end = intent.termination
    well = end is not None and not end.exit_code
    if intent.vmi_stopping:
        return _until_success(intent, snapshot, now)
    unseen = end is None and intent.vmi_started and _succeeded_unseen(snapshot)
    return _machine_ended(intent, "it was switched off from inside") if well or unseen else intent


def _machine_ended(intent: Intent, why: str) -> Intent:
    what = f"virtual machine {intent.vm_name} ended before its containers"
    return _failed(intent, Reason.MACHINE_ENDED, f"{what}: {why}" if why else what)


def _never_again(intent: Intent, snapshot: Snapshot) -> Intent:
    end, vm = intent.termination, snapshot.vm
    if end is None:
        return intent
    if not intent.vmi_stopping:
        return _ended(intent, Phase.FAILED if end.exit_code else Phase.SUCCEEDED)
    # Switched off (``Halted``) or killed (still ``Once``)? ``Stopped`` proves that the VM was read after the end.
    switched_on = vm is not None and vm.spec.run_strategy == RunStrategy.ONCE
    if switched_on and not deleting(snapshot.pod) and _reads_stopped(snapshot):
        return _stopped_by_others(intent)
    return intent


def _until_success(intent: Intent, snapshot: Snapshot, now: datetime) -> Intent:
    end = intent.termination
    if end is not None:
        if end.exit_code:
            return intent
        if not intent.vmi_stopping:
            return _ended(intent, Phase.SUCCEEDED)
        vmi = snapshot.vmi
        if vmi is not None and vmi.metadata.deletion_timestamp is None:
            return _failed(intent, Reason.EVICTED, "The virtual machine's launcher was taken off its node")
        return intent
    if _was_started(intent, snapshot) and not intent.vmi_stopping and _succeeded_unseen(snapshot):
        missed = Termination(vmi_uid=intent.vmi_uid, exit_code=0, reason=Reason.COMPLETED.value, finished_at=now)
        return _ended(msgspec.structs.replace(intent, termination=missed), Phase.SUCCEEDED)
    return intent


def _was_started(intent: Intent, snapshot: Snapshot) -> bool:
    """Also a boot that began and ended while we were away: a VM's own run strategy is empty before its first instance.

    Source: ``updateStatus`` in KubeVirt's ``pkg/virt-controller/watch/vm/vm.go``.
    """
    return intent.vmi_started or (snapshot.vm is not None and bool(snapshot.vm.status.run_strategy))


def _succeeded_unseen(snapshot: Snapshot) -> bool:
    """``RerunOnFailure`` deletes an instance that succeeded; after one that failed a start is requested at once."""
    vm = snapshot.vm
    if vm is None or snapshot.vmi is not None or vm.status.created or vm.metadata.deletion_timestamp is not None:
        return False
    settled = vm.status.start_failure is None and not vm.status.state_change_requests
    return settled and vm.spec.run_strategy == RunStrategy.RERUN_ON_FAILURE and _reads_stopped(snapshot)


def _reads_stopped(snapshot: Snapshot) -> bool:
    return snapshot.vm is not None and snapshot.vm.status.printable is PrintableStatus.STOPPED


def _stopped_by_others(intent: Intent) -> Intent:
    return _failed(intent, Reason.STOPPED, f"virtual machine {intent.vm_name} was stopped before it ended by itself")


def _failed(intent: Intent, reason: Reason, message: str) -> Intent:
    return msgspec.structs.replace(_ended(intent, Phase.FAILED), outcome_reason=reason.value, outcome_message=message)


def _ended(intent: Intent, phase: Phase) -> Intent:
    return msgspec.structs.replace(intent, outcome=phase.value)


def _policy(pod: Pod | None) -> RestartPolicy:
    return RestartPolicy(pod.spec.restart_policy) if pod is not None else RestartPolicy.ALWAYS


def _status(intent: Intent, snapshot: Snapshot) -> IntentStatus:
    vmi = snapshot.vmi
    if intent.status is IntentStatus.DESTROYED:
        return intent.status
    stopping = vmi is not None and not vmi.phase.final and vmi.metadata.deletion_timestamp is not None
    if intent.outcome or stopping or powered_off(intent, snapshot):
        return IntentStatus.OFF
    if vmi is None and snapshot.vm is None:
        return intent.status
    return IntentStatus.RUNNING if intent.vmi_started or intent.last_termination else IntentStatus.PROVISIONING
