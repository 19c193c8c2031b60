"""The planner's decisions, one by one: which single step comes next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import ANNOTATION_SPEC_HASH, PodKey
from kubelet_bridge.model.snapshot import Inputs, Snapshot
from kubelet_bridge.reconcile.actions import (
    Accept,
    Claim,
    ConfirmVm,
    Create,
    DeleteVm,
    FinalizePod,
    Forget,
    LookUp,
    Plan,
    Record,
    ReplaceInstance,
    StopVm,
    Update,
)
from kubelet_bridge.reconcile.planner import plan
from kubelet_bridge.translate import ownership
from kubelet_bridge.translate.config import BridgeConfig

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = PodKey("shop", "web", "u1")
CONFIG = BridgeConfig(node_name="vnode")
ROW = Intent(uid="u1", id="dpl_1", namespace="shop", name="web", vm_name="web", accepted_at=NOW)


def pod(*, deleted: int | None = None, generation: int = 1, image: str = "a.test/disk:1", **spec: Any) -> Pod:
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop", "uid": "u1", "generation": generation}
    if deleted is not None:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": deleted}
    containers = [{"name": "c", "image": image}]
    return msgspec.convert({"metadata": metadata, "spec": {"containers": containers, **spec}}, Pod)


def vm(
    uid: str = "vm-1", *, pod_uid: str = "u1", ours: bool = True, deleting: bool = False, **notes: str
) -> VirtualMachine:
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if ours:
        key = PodKey("shop", "web", pod_uid)
        metadata = ownership.metadata("web", key, "vnode")
        metadata["annotations"] = ownership.annotations(key, "dpl_1", "x") | notes
    metadata["uid"] = uid
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return msgspec.convert({"metadata": metadata}, VirtualMachine)


def vmi(phase: str = "Running", uid: str = "vmi-1") -> VirtualMachineInstance:
    return msgspec.convert(
        {"metadata": {"name": "web", "uid": uid}, "status": {"phase": phase}}, VirtualMachineInstance
    )


def row(**changes: Any) -> Intent:
    return msgspec.structs.replace(ROW, **changes)


def decide(*, vm_absent: bool = False, now: datetime = NOW, **world: Any) -> Plan:
    return plan(Snapshot(key=KEY, **world), CONFIG, new_id="dpl_new", vm_absent=vm_absent, now=now)


def promised() -> Intent:
    """The row of a Pod whose VM was made as ``build`` makes it."""
    step = decide(pod=pod(), intent=ROW, inputs=Inputs()).step
    assert isinstance(step, Record)
    return step.intent


def test_a_new_pod_is_written_down_first() -> None:
    assert decide(pod=pod()).step == LookUp()
    step = decide(pod=pod(), inputs=Inputs()).step
    assert isinstance(step, Accept)
    assert (step.intent.id, step.intent.vm_name, step.intent.outcome) == ("dpl_new", "web", "")
    assert step.intent.spec_hash
    assert isinstance(decide(pod=pod(), intent=step.intent, inputs=Inputs()).step, Create)


def test_a_pod_that_cannot_be_a_vm_is_refused_for_good() -> None:
    step = decide(pod=pod(hostNetwork=True)).step
    assert isinstance(step, Accept)
    assert step.intent.rejected
    assert "spec.hostNetwork" in step.intent.outcome_message
    assert decide(pod=pod(hostNetwork=True), intent=step.intent) == Plan()


def test_a_pod_whose_inputs_are_missing_is_written_down_all_the_same() -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    wanting = pod(containers=[{"name": "c", "image": "a.test/disk:1", "env": env}])
    step = decide(pod=wanting, inputs=Inputs(secrets={"s": None})).step
    assert isinstance(step, Accept)
    assert step.intent.spec_hash == ""


def test_inputs_then_promise_then_vm() -> None:
    assert decide(pod=pod(), intent=ROW).step == LookUp()
    intent = promised()
    assert intent.spec_hash
    assert isinstance(decide(pod=pod(), intent=intent, inputs=Inputs()).step, Create)


def test_a_missing_input_waits_and_says_so() -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    wanting = pod(containers=[{"name": "c", "image": "a.test/disk:1", "env": env}])
    decided = decide(pod=wanting, intent=ROW, inputs=Inputs(secrets={"s": None}))
    assert decided.step is None
    assert decided.problem is not None
    assert decided.problem.reason == "CreateContainerConfigError"


def test_a_predecessor_is_waited_for_and_a_stranger_is_left_alone() -> None:
    waiting = decide(pod=pod(), intent=ROW, inputs=Inputs(), squatter=vm(pod_uid="u0"))
    assert waiting.step is None
    assert waiting.requeue_after is not None
    renamed = decide(pod=pod(), intent=ROW, inputs=Inputs(), squatter=vm(ours=False)).step
    assert isinstance(renamed, Record)
    assert renamed.intent.vm_name.startswith("web-")


def test_a_vm_missing_from_the_cache_is_asked_for_before_anything_is_concluded() -> None:
    seen = row(vm_uid="vm-1", spec_hash="x")
    assert decide(pod=pod(), intent=seen).step == ConfirmVm("web")
    again = decide(pod=pod(), intent=seen, vm_absent=True).step
    assert isinstance(again, Record)
    assert (again.intent.vm_uid, again.intent.outcome) == ("", "")


def test_a_vanished_vm_of_a_pod_that_never_restarts_fails_it() -> None:
    step = decide(pod=pod(restartPolicy="Never"), intent=row(vm_uid="vm-1", spec_hash="x"), vm_absent=True).step
    assert isinstance(step, Record)
    assert (step.intent.outcome, step.intent.outcome_reason) == ("Failed", "ContainerStatusUnknown")


def test_a_settled_pod_is_left_alone() -> None:
    intent = promised()
    assert decide(pod=pod(), intent=intent, vm=vm(), vmi=vmi()) == Plan()


def test_a_changed_image_is_applied_recorded_and_booted() -> None:
    intent, changed = promised(), pod(generation=2, image="a.test/disk:2")
    update = decide(pod=changed, intent=intent, vm=vm(), vmi=vmi(), inputs=Inputs()).step
    assert isinstance(update, Update)
    applied = vm(**{ANNOTATION_SPEC_HASH: update.manifests.spec_hash})
    record = decide(pod=changed, intent=intent, vm=applied, vmi=vmi(), inputs=Inputs()).step
    assert isinstance(record, Record)
    assert decide(pod=changed, intent=record.intent, vm=applied, vmi=vmi()).step == ReplaceInstance("web", "vmi-1")
    assert decide(pod=changed, intent=record.intent, vm=applied, vmi=vmi(uid="vmi-2")) == Plan()


def test_a_change_that_is_nothing_to_the_vm_is_only_noted() -> None:
    intent = promised()
    step = decide(pod=pod(generation=2), intent=intent, vm=vm(), vmi=vmi(), inputs=Inputs()).step
    assert step == Record(msgspec.structs.replace(intent, applied_generation=2), "SpecSeen")


def test_deletion_goes_step_by_step() -> None:
    intent = promised()
    first = decide(pod=pod(deleted=30), intent=intent, vm=vm(), vmi=vmi()).step
    assert isinstance(first, Record)
    assert first.intent.deletion_grace == 30
    going = msgspec.structs.replace(first.intent, vm_uid="vm-1")
    assert decide(pod=pod(deleted=30), intent=going, vm=vm(), vmi=vmi()).step == DeleteVm("web", "vm-1")
    assert decide(pod=pod(deleted=30), intent=going, vm=vm(deleting=True), vmi=vmi()) == Plan()
    assert decide(pod=pod(deleted=30), intent=going).step == ConfirmVm("web")
    assert decide(pod=pod(deleted=30), intent=going, vm_absent=True).step == FinalizePod()
    assert decide(intent=going, vm_absent=True).step == Forget("PodGone")
    assert decide() == Plan()


def test_nothing_is_finalized_while_an_instance_is_left() -> None:
    going = row(vm_uid="vm-1", spec_hash="x", deletion_grace=30)
    decided = decide(pod=pod(deleted=30), intent=going, vmi=vmi(), vm_absent=True)
    assert decided.step is None
    assert decided.requeue_after is not None


def test_a_shorter_grace_is_passed_on_and_a_longer_one_not_any_more() -> None:
    going = row(vm_uid="vm-1", spec_hash="x", deletion_grace=30)
    step = decide(pod=pod(deleted=2), intent=going, vm=vm(deleting=True), vmi=vmi()).step
    assert step == StopVm(msgspec.structs.replace(going, deletion_grace=2), 2)
    assert decide(pod=pod(deleted=60), intent=going, vm=vm(deleting=True), vmi=vmi()) == Plan()


def test_a_force_deleted_pod_takes_its_vm_with_it_at_once() -> None:
    intent = row(vm_uid="vm-1", spec_hash="x")
    stop = decide(intent=intent, vm=vm(), vmi=vmi()).step
    assert isinstance(stop, StopVm)
    assert stop.grace == 0
    assert decide(intent=stop.intent, vm=vm(), vmi=vmi()).step == DeleteVm("web", "vm-1")


def test_an_orphan_nobody_remembers_is_deleted() -> None:
    assert decide(vm=vm(), vmi=vmi()).step == DeleteVm("web", "vm-1")


def test_a_pod_that_only_a_finalizer_keeps_is_not_taken_up_again() -> None:
    assert decide(pod=pod(deleted=0)) == Plan()


def test_a_deadline_is_looked_at_in_time() -> None:
    intent = msgspec.structs.replace(promised(), applied_generation=1)
    limited = pod(activeDeadlineSeconds=60)
    decided = decide(pod=limited, intent=intent, vm=vm(), vmi=vmi(), now=NOW + timedelta(seconds=20))
    assert decided.requeue_after == 40


def test_a_decided_pod_stops_its_vm_and_keeps_its_remains() -> None:
    ended = msgspec.structs.replace(promised(), outcome="Failed", outcome_reason="DeadlineExceeded")
    assert decide(pod=pod(), intent=ended, vm=vm(), vmi=vmi()).step == DeleteVm("web", "vm-1")
    assert decide(pod=pod(), intent=ended, vm=vm(), vmi=vmi("Failed")) == Plan()


def test_a_vm_that_lost_its_marks_is_claimed_again_and_nothing_else() -> None:
    seen = row(vm_uid="vm-1", spec_hash="x", applied_generation=1)
    step = decide(pod=pod(), intent=seen, vm=vm(ours=False), vmi=vmi()).step
    assert isinstance(step, Claim)
    assert step == decide(pod=pod(deleted=30), intent=seen, vm=vm(ours=False), vmi=vmi()).step
    assert (step.name, step.uid, set(step.marks)) == ("web", "vm-1", {"labels", "annotations", "ownerReferences"})
    assert decide(pod=pod(), intent=seen, vm=vm(), vmi=vmi()) == Plan()


def test_a_vm_missing_from_the_cache_is_looked_for_though_its_instance_is_there() -> None:
    going = row(vm_uid="vm-1", spec_hash="x", deletion_grace=30)
    assert decide(pod=pod(deleted=30), intent=going, vmi=vmi()).step == ConfirmVm("web")


def test_a_pod_whose_inputs_may_not_be_read_is_taken_and_says_so() -> None:
    forbidden = Inputs(unreadable='secrets "s" is forbidden')
    step = decide(pod=pod(), inputs=forbidden).step
    assert isinstance(step, Accept)
    told = decide(pod=pod(), intent=step.intent, inputs=forbidden).problem
    assert told is not None
    assert (told.reason, told.message) == ("CreateContainerConfigError", 'secrets "s" is forbidden')


AWAITED = BridgeConfig(node_name="vnode", runtime_image="a.test/runtime:1", guests_awaited="Secret x: forbidden")


def test_a_pod_that_needs_an_agent_waits_until_agents_are_served() -> None:
    waiting = plan(
        Snapshot(key=KEY, pod=pod(image="nginx"), intent=ROW, inputs=Inputs()), AWAITED, new_id="", vm_absent=False,
        now=NOW,
    )  # fmt: skip
    assert waiting.step is None
    assert waiting.problem is not None
    assert "Secret x: forbidden" in waiting.problem.message


def test_a_machine_of_its_own_does_not_wait_for_agents() -> None:
    world = Snapshot(key=KEY, pod=pod(image="containerdisk://a.test/disk:1"), intent=ROW, inputs=Inputs())
    assert isinstance(plan(world, AWAITED, new_id="", vm_absent=False, now=NOW).step, Record)


def test_a_vm_is_not_made_over_without_the_agent_it_may_have() -> None:
    changed = Snapshot(
        key=KEY, pod=pod(generation=2), vm=vm(), vmi=vmi(), intent=row(vm_uid="vm-1", vmi_uid="vmi-1", spec_hash="x"),
        inputs=Inputs(),
    )  # fmt: skip
    assert plan(changed, AWAITED, new_id="", vm_absent=False, now=NOW).step is None


LOST = ["disk of claim data is lost: DataVolume data-1 was deleted by somebody else"]


def test_a_pod_whose_disk_is_lost_ends_and_its_vm_with_it() -> None:
    step = decide(pod=pod(), intent=promised(), vm=vm(), vmi=vmi(), lost=LOST).step
    assert isinstance(step, Record)
    assert (step.intent.outcome, step.intent.outcome_reason, step.intent.outcome_message) == (
        "Failed", "VolumeLost", LOST[0],
    )  # fmt: skip
    assert decide(pod=pod(), intent=step.intent, vm=vm(), vmi=vmi(), lost=LOST).step == DeleteVm("web", "vm-1")


def test_a_pod_that_has_not_begun_waits_for_a_lost_disk_and_is_not_replaced_for_ever() -> None:
    waiting = decide(pod=pod(), intent=promised(), inputs=Inputs(), lost=LOST)
    assert waiting.step is None
    assert waiting.problem is not None
    assert waiting.problem.message == LOST[0]


def test_a_pod_with_a_lost_disk_can_be_deleted() -> None:
    step = decide(pod=pod(deleted=30), intent=promised(), lost=LOST).step
    assert isinstance(step, Record)
    assert step.intent.outcome == ""
