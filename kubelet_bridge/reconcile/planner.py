"""What to do next for one Pod, decided from one snapshot. Pure: the same snapshot gives the same plan.

Planning one step at a time keeps it safe against a crash at any line: whatever has been done is in the next snapshot,
and planning from there leads to the same end.
"""

from datetime import datetime, timedelta

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.model.kubevirt import VirtualMachine, VmiPhase
from kubelet_bridge.model.meta import ANNOTATION_SPEC_HASH, LABEL_MANAGED_BY, MANAGED_BY, hashed_vm_name, vm_name
from kubelet_bridge.model.snapshot import EventType, PodEvent, Snapshot
from kubelet_bridge.reconcile.actions import (
    Accept,
    Claim,
    ConfirmVm,
    Create,
    DeleteVm,
    FinalizePod,
    Forget,
    LookUp,
    MakeRootDisk,
    Plan,
    Record,
    ReplaceInstance,
    StopVm,
    Update,
)
from kubelet_bridge.reconcile.diskplanner import look_after_disks
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.image import Unresolvable, is_agent_managed
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.ownership import annotations, restored
from kubelet_bridge.translate.podstatus import Problem
from kubelet_bridge.translate.rootdisk import has_one
from kubelet_bridge.translate.support import CannotTranslate, Refusal, refusals
from kubelet_bridge.translate.virtualmachine import Manifests, build

DEFAULT_GRACE = 30
_AGENTS_WAIT = 15.0
_PREDECESSOR_WAIT = 2.0
_TURN_WAIT = 5.0
_GOLDEN_WAIT = 5.0
LEFTOVERS_WAIT = 2.0
WAIT = Plan()


def plan(snapshot: Snapshot, config: BridgeConfig, *, new_id: str, vm_absent: bool, now: datetime) -> Plan:
    """The next step for ``snapshot.key``.

    Args:
        snapshot: everything known; ``snapshot.intent`` has been brought up to date by ``observe``.
        config: the node's settings.
        new_id: readable id for the row, should one be made.
        vm_absent: a GET in this very sync found no VM of ours; without it an absence is only a hint.
        now: the current time.
    """
    if snapshot.pod is None:
        return _abandon(snapshot, vm_absent=vm_absent)
    if snapshot.intent is None:
        return WAIT if _was_let_go(snapshot, snapshot.pod) else _accept(snapshot, snapshot.pod, config, new_id, now)
    if snapshot.vm is not None and (claim := _claim(snapshot.vm, snapshot, snapshot.intent, config)) is not None:
        return Plan(step=claim)
    if snapshot.pod.metadata.deletion_timestamp is not None:
        return _terminate(snapshot, snapshot.pod, snapshot.intent, vm_absent=vm_absent)
    if snapshot.intent.outcome:
        return _settled(snapshot, snapshot.intent)
    if snapshot.lost:
        return _without_disk(snapshot, snapshot.intent)
    if snapshot.vm is None:
        return _bring_about(snapshot, snapshot.pod, snapshot.intent, config, vm_absent=vm_absent)
    return _maintain(snapshot, snapshot.pod, snapshot.intent, snapshot.vm, config, now)


def _without_disk(snapshot: Snapshot, intent: Intent) -> Plan:
    """A disk of the Pod is lost. What had it ends, for good: what it writes would go nowhere that lasts.

    A Pod that has not begun waits instead: ended, it would be replaced by the next at once, for ever.
    """
    message = "; ".join(snapshot.lost)
    if snapshot.vm is None and snapshot.vmi is None:
        notes = [PodEvent(EventType.WARNING, "VolumeLost", message)]
        return Plan(problem=Problem("CreateContainerConfigError", message), notes=notes)
    ended = msgspec.structs.replace(
        intent, outcome="Failed", outcome_reason="VolumeLost", outcome_message=message, status=IntentStatus.OFF
    )
    return Plan(step=Record(ended, "VolumeLost"))


def _claim(vm: VirtualMachine, snapshot: Snapshot, intent: Intent, config: BridgeConfig) -> Claim | None:
    """The VM is this Pod's, whatever somebody did to its labels: a watch must see it, and nobody make it a double."""
    if vm.metadata.deletion_timestamp is not None:
        return None
    notes = annotations(snapshot.key, intent.id, intent.spec_hash)
    lost = restored(vm.metadata, snapshot.key, config.node_name, notes)
    return None if lost is None else Claim(vm.metadata.name, vm.metadata.uid, lost)


def _was_let_go(snapshot: Snapshot, pod: Pod) -> bool:
    """Whether only somebody's finalizer still keeps the object: there is nothing to promise it any more."""
    ending = pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds == 0
    return ending and snapshot.vm is None and snapshot.vmi is None and not snapshot.launchers


def _accept(snapshot: Snapshot, pod: Pod, config: BridgeConfig, new_id: str, now: datetime) -> Plan:
    """Write the Pod down, with what is promised to it where that can be told already: one commit instead of two."""
    intent = Intent(
        uid=snapshot.key.uid, id=new_id, namespace=snapshot.key.namespace, name=snapshot.key.name,
        container=snapshot.key.container, pod_uid=snapshot.key.pod_uid,
        vm_name=snapshot.vm.metadata.name if snapshot.vm else vm_name(snapshot.key),
        vm_uid=snapshot.vm.metadata.uid if snapshot.vm else "",
        accepted_at=pod.status.start_time or now,
    )  # fmt: skip
    if snapshot.vm is not None or pod.metadata.deletion_timestamp is not None:
        return Plan(step=Accept(intent))
    if refused := refusals(pod, config):
        return Plan(step=Accept(rejected(intent, refused)))
    if snapshot.inputs is None:
        return Plan(step=LookUp())
    made = _manifests(msgspec.structs.replace(snapshot, intent=intent), intent, config)
    return Plan(step=Accept(intent if isinstance(made, Plan) else _promise(intent, pod, made)))


def rejected(intent: Intent, refused: list[Refusal]) -> Intent:
    """The row of a Pod that can never be a VM."""
    reasons = "; ".join(f"{one.field}: {one.reason}" for one in refused)
    return msgspec.structs.replace(
        intent, rejected=True, outcome="Failed", outcome_reason="UnsupportedPodSpec", status=IntentStatus.OFF,
        outcome_message=f"Pod was rejected: {reasons}",
    )  # fmt: skip


def _bring_about(snapshot: Snapshot, pod: Pod, intent: Intent, config: BridgeConfig, *, vm_absent: bool) -> Plan:
    if intent.vm_uid:
        return _vanished(pod, intent) if vm_absent else Plan(step=ConfirmVm(intent.vm_name))
    if snapshot.squatter is not None:
        return _make_way(snapshot.squatter, snapshot, intent)
    if snapshot.contended:
        return _out_of_turn(snapshot.contended)
    if snapshot.inputs is None:
        return Plan(step=LookUp())
    made = _manifests(snapshot, intent, config)
    if isinstance(made, Plan):
        return made
    promised = _promise(intent, pod, made)
    if promised != intent:
        return Plan(step=Record(promised, "Promised"))
    return _root_disk(snapshot, made, config) or Plan(step=Create(made))


def _root_disk(snapshot: Snapshot, made: Manifests, config: BridgeConfig) -> Plan | None:
    """The disk that the VM boots from comes first; None when it is there, or none is needed."""
    if config.images is None or not has_one(made.boot):
        return None
    if snapshot.root_disk is None:
        if config.images.trouble and made.boot.image is not None:
            trouble = f"no disk can be made of {made.boot.reference} now: {config.images.trouble}"
            return Plan(problem=Problem("CreateContainerError", trouble))
        return Plan(step=MakeRootDisk(made.boot, config.images, config.node_name))
    if snapshot.root_disk.made:
        return None
    return Plan(problem=Problem("ContainerCreating", snapshot.root_disk.words), requeue_after=_GOLDEN_WAIT)


def _out_of_turn(contended: list[str]) -> Plan:
    """As when a disk is attached to another node: it is another Pod's turn, in the attach controller's words."""
    message = "; ".join(contended)
    notes = [PodEvent(EventType.WARNING, "FailedAttachVolume", message)]
    return Plan(problem=Problem("ContainerCreating", message), notes=notes, requeue_after=_TURN_WAIT)


def _promise(intent: Intent, pod: Pod, made: Manifests) -> Intent:
    return msgspec.structs.replace(
        intent, spec_hash=made.spec_hash, boot_image=made.image, hosting=made.hosting, allocation=made.allocation,
        applied_generation=pod.metadata.generation,
    )  # fmt: skip


def _manifests(snapshot: Snapshot, intent: Intent, config: BridgeConfig) -> Manifests | Plan:
    """The manifests, or the plan that says why there are none."""
    if snapshot.pod is not None and config.guests_awaited and is_agent_managed(snapshot.pod, config):
        return Plan(problem=Problem("CreateContainerError", f"agents cannot be served: {config.guests_awaited}"))
    try:
        return build(snapshot, intent.vm_name, config)
    except MissingInputs as error:
        return Plan(problem=Problem(error.waiting.value, error.message), notes=error.notes)
    except Unresolvable as error:
        return Plan(problem=Problem("InvalidImageName", error.message))
    except CannotTranslate as error:
        return Plan(problem=Problem("CreateContainerConfigError", error.message))


def _make_way(squatter: VirtualMachine, snapshot: Snapshot, intent: Intent) -> Plan:
    if squatter.metadata.labels.get(LABEL_MANAGED_BY) == MANAGED_BY:
        message = f"waiting for virtual machine {squatter.metadata.name} of a former Pod of this name to be gone"
        return Plan(problem=Problem("ContainerCreating", message), requeue_after=_PREDECESSOR_WAIT)
    other = hashed_vm_name(snapshot.key)
    if intent.vm_name == other:
        message = f"a virtual machine {other} that is not this Pod's already exists"
        return Plan(problem=Problem("CreateContainerError", message), requeue_after=_PREDECESSOR_WAIT)
    return Plan(step=Record(msgspec.structs.replace(intent, vm_name=other), "NameTaken"))


def _vanished(pod: Pod, intent: Intent) -> Plan:
    if pod.spec.restart_policy != "Never":
        again = msgspec.structs.replace(intent, vm_uid="", status=IntentStatus.PROVISIONING)
        return Plan(step=Record(again, "VirtualMachineVanished"))
    lost = msgspec.structs.replace(
        intent, outcome="Failed", outcome_reason="ContainerStatusUnknown", status=IntentStatus.OFF,
        outcome_message=f"virtual machine {intent.vm_name} was deleted by somebody else",
    )  # fmt: skip
    return Plan(step=Record(lost, "VirtualMachineVanished"))


def _maintain(
    snapshot: Snapshot, pod: Pod, intent: Intent, vm: VirtualMachine, config: BridgeConfig, now: datetime
) -> Plan:
    if vm.metadata.deletion_timestamp is not None:
        return Plan(requeue_after=_deadline(pod, intent, now))
    if intent.applied_generation != pod.metadata.generation:
        return _follow_spec(snapshot, pod, intent, vm, config)
    vmi = snapshot.vmi
    if vmi is not None and vmi.metadata.uid == intent.replace_vmi_uid and vmi.metadata.deletion_timestamp is None:
        return Plan(step=ReplaceInstance(vmi.metadata.name, vmi.metadata.uid))
    if (planned := look_after_disks(snapshot, pod, intent, config.node_name)) is not None:
        return planned
    return Plan(requeue_after=_deadline(pod, intent, now))


def _follow_spec(snapshot: Snapshot, pod: Pod, intent: Intent, vm: VirtualMachine, config: BridgeConfig) -> Plan:
    if config.guests_awaited:  # what can be made now lacks the agent that the VM may have
        return Plan(requeue_after=_AGENTS_WAIT)
    if snapshot.inputs is None:
        return Plan(step=LookUp())
    made = _manifests(snapshot, intent, config)
    if isinstance(made, Plan):
        return made
    if made.spec_hash == intent.spec_hash:
        return Plan(step=Record(_promise(intent, pod, made), "SpecSeen"))
    if made.spec_hash != vm.metadata.annotations.get(ANNOTATION_SPEC_HASH):
        another = intent.boot_image not in ("", made.image)
        waiting = _root_disk(snapshot, made, config) if another else None
        return waiting or Plan(step=Update(made, vm.metadata.uid))
    followed = _promise(intent, pod, made)
    if intent.boot_image not in ("", made.image) and snapshot.vmi is not None and pod.spec.restart_policy != "Never":
        followed = msgspec.structs.replace(followed, replace_vmi_uid=snapshot.vmi.metadata.uid)
    return Plan(step=Record(followed, "SpecChanged"))


def _deadline(pod: Pod, intent: Intent, now: datetime) -> float | None:
    if pod.spec.active_deadline_seconds is None:
        return None
    due = intent.accepted_at + timedelta(seconds=pod.spec.active_deadline_seconds)
    return max(0.1, (due - now).total_seconds())


def _settled(snapshot: Snapshot, intent: Intent) -> Plan:
    vm, vmi = snapshot.vm, snapshot.vmi
    running = vmi is not None and not vmi.phase.final
    if vm is not None and running and vm.metadata.deletion_timestamp is None:
        return Plan(step=DeleteVm(vm.metadata.name, vm.metadata.uid))
    if vm is None and running and not intent.rejected:
        return Plan(requeue_after=LEFTOVERS_WAIT)
    return WAIT


def _terminate(snapshot: Snapshot, pod: Pod, intent: Intent, *, vm_absent: bool) -> Plan:
    grace = pod.metadata.deletion_grace_period_seconds
    wanted = DEFAULT_GRACE if grace is None else grace
    if intent.deletion_grace is None:
        asked = _spec_grace(pod) if snapshot.vm is not None else wanted
        return Plan(step=Record(msgspec.structs.replace(intent, deletion_grace=asked), "PodDeleted"))
    if snapshot.vm is None:
        return _let_go(snapshot, intent, FinalizePod(), vm_absent=vm_absent)
    return _take_down(snapshot.vm, snapshot, intent, wanted)


def _spec_grace(pod: Pod) -> int:
    grace = pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE if grace is None else grace


def _take_down(vm: VirtualMachine, snapshot: Snapshot, intent: Intent, grace: int) -> Plan:
    running = snapshot.vmi is not None and snapshot.vmi.phase in (VmiPhase.RUNNING, VmiPhase.SCHEDULED)
    deleting = vm.metadata.deletion_timestamp is not None
    asked = grace if intent.deletion_grace is None else intent.deletion_grace
    if running and (grace < asked if deleting else grace != asked):
        return Plan(step=StopVm(msgspec.structs.replace(intent, deletion_grace=grace), grace))
    return WAIT if deleting else Plan(step=DeleteVm(vm.metadata.name, vm.metadata.uid))


def _let_go(snapshot: Snapshot, intent: Intent, last: FinalizePod | Forget, *, vm_absent: bool) -> Plan:
    """The VM is not in the cache: make sure that nothing of it is left, then take the last step.

    The VM comes first: one whose labels were removed is in no cache, and its instance would run for ever.
    """
    promised = bool(intent.spec_hash or intent.vm_uid)
    if promised and not vm_absent:
        return Plan(step=ConfirmVm(intent.vm_name))
    if snapshot.vmi is not None or snapshot.launchers:
        return Plan(requeue_after=LEFTOVERS_WAIT)
    return Plan(step=last)


def _abandon(snapshot: Snapshot, *, vm_absent: bool) -> Plan:
    """The Pod is gone, by force or while we were away: whatever runs for it goes too, at once."""
    intent, vm = snapshot.intent, snapshot.vm
    if vm is not None:
        if intent is not None and intent.deletion_grace != 0:
            return _take_down(vm, snapshot, _asked(intent), 0)
        return WAIT if vm.metadata.deletion_timestamp is not None else Plan(
            step=DeleteVm(vm.metadata.name, vm.metadata.uid)
        )  # fmt: skip
    if intent is None:
        return WAIT
    return _let_go(snapshot, intent, Forget("PodGone"), vm_absent=vm_absent)


def _asked(intent: Intent) -> Intent:
    if intent.deletion_grace is not None:
        return intent
    return msgspec.structs.replace(intent, deletion_grace=DEFAULT_GRACE)
