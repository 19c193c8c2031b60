"""What one machine of several may do, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import PodKey, machine_key
from kubelet_bridge.model.snapshot import Inputs, Snapshot
from kubelet_bridge.reconcile.actions import Accept, ConfirmVm, DeleteVm, Plan, Record, Step
from kubelet_bridge.reconcile.machineplanner import Stage, accept, due_in, is_gone, last_grace, plan_machine
from kubelet_bridge.translate import ownership
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.machines import part

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE = PodKey("shop", "web", "u1")
CONFIG = BridgeConfig(node_name="vnode")
OWN = Intent(uid="u1", id="dpl_0", namespace="shop", name="web", accepted_at=NOW, machines=True)
OVER = msgspec.structs.replace(OWN, outcome="Failed", outcome_reason="DeadlineExceeded")


def pod(*, deleted: bool = False, **spec: Any) -> Pod:
    metadata: dict[str, Any] = {
        "name": "web", "namespace": "shop", "uid": "u1", "generation": 1,
        "annotations": {"kubelet-bridge.io/containers": "vm-per-container"},
    }  # fmt: skip
    if deleted:
        metadata |= {"deletionTimestamp": NOW.isoformat(), "deletionGracePeriodSeconds": 30}
    init = [{"name": "first", "image": "a.test/disk:1"}]
    containers = [{"name": "web", "image": "a.test/disk:1"}]
    return msgspec.convert(
        {"metadata": metadata, "spec": {"initContainers": init, "containers": containers, **spec}}, Pod
    )


def row(container: str, **fields: Any) -> Intent:
    key = machine_key(WHOLE, container)
    return Intent(
        uid=key.uid, id="dpl_1", namespace="shop", name=key.name, container=container, pod_uid="u1",
        vm_name=f"web-{container}", accepted_at=NOW, **fields,
    )  # fmt: skip


def world(container: str, intent: Intent | None, *, of: Pod | None = None, **known: Any) -> Snapshot:
    found = part(of or pod(), container)
    assert found is not None
    key = machine_key(WHOLE, container)
    return Snapshot(key=key, pod=found[0], machine=found[1], intent=intent, inputs=Inputs(), **known)


def vm(container: str) -> VirtualMachine:
    key = machine_key(WHOLE, container)
    metadata = ownership.metadata(f"web-{container}", key, "vnode") | {"uid": "vm-1"}
    metadata["annotations"] = ownership.annotations(key, "dpl_1", "x")
    return msgspec.convert({"metadata": metadata}, VirtualMachine)


def planned(snapshot: Snapshot, own: Intent = OWN, stage: Stage = Stage.LIVE, *, absent: bool = False) -> Step | None:
    return plan_machine(snapshot, own, CONFIG, stage, new_id="dpl_1", vm_absent=absent, now=NOW).step


def test_nothing_is_made_before_its_turn() -> None:
    assert planned(world("web", None), stage=Stage.WAITING) is None
    step = planned(world("web", None))
    assert isinstance(step, Accept)
    assert (step.intent.container, step.intent.pod_uid, step.intent.machines) == ("web", "u1", False)
    assert step.intent.key == machine_key(WHOLE, "web")


@pytest.mark.parametrize("own", [OWN, OVER])
def test_what_never_began_is_not_begun_at_the_end(own: Intent) -> None:
    snapshot = world("web", None, of=pod(deleted=own is OWN))
    assert planned(snapshot, own, Stage.ENDING) is None
    assert is_gone(snapshot)


def test_a_machine_ends_with_its_pod() -> None:
    running = row("web", vm_uid="vm-1", spec_hash="x")
    step = planned(world("web", running, vm=vm("web")), OVER, Stage.ENDING)
    assert isinstance(step, Record)
    assert (step.intent.outcome, step.intent.outcome_reason) == ("Failed", "DeadlineExceeded")
    instance = VirtualMachineInstance()
    step = planned(world("web", step.intent, vm=vm("web"), vmi=instance), OVER, Stage.ENDING)
    assert step == DeleteVm("web-web", "vm-1")


def test_the_vm_of_an_init_container_that_is_done_goes_and_its_row_stays() -> None:
    done = row("first", vm_uid="vm-1", spec_hash="x", outcome="Succeeded")
    assert planned(world("first", done, vm=vm("first"))) == DeleteVm("web-first", "vm-1")
    assert planned(world("first", done)) == ConfirmVm("web-first")
    last = planned(world("first", done), absent=True)
    assert isinstance(last, Record)
    assert (last.intent.vm_uid, last.intent.spec_hash, last.intent.outcome) == ("", "", "Succeeded")
    assert not is_gone(world("first", done))
    assert is_gone(world("first", last.intent))
    assert planned(world("first", last.intent)) is None


def test_a_main_container_that_is_done_keeps_its_vm_for_whoever_wants_to_look() -> None:
    done = row("web", vm_uid="vm-1", spec_hash="x", outcome="Succeeded")
    assert planned(world("web", done, vm=vm("web"))) is None


def test_no_machine_lets_the_pod_go() -> None:
    gone = row("web", vm_uid="vm-1", spec_hash="x", deletion_grace=30)
    step = planned(world("web", gone, of=pod(deleted=True)), stage=Stage.ENDING, absent=True)
    assert isinstance(step, Record)
    assert planned(world("web", step.intent, of=pod(deleted=True)), stage=Stage.ENDING) is None


def test_the_pods_row_comes_first_and_says_what_cannot_be() -> None:
    def accepted(of: Pod, *, left: bool = False) -> Accept | None:
        return accept(Snapshot(key=WHOLE, pod=of), of, CONFIG, new_id="dpl_0", left=left, now=NOW)

    assert accepted(pod()) == Accept(OWN)
    refused = accepted(pod(shareProcessNamespace=True))
    assert refused is not None
    assert refused.intent.rejected
    assert "spec.shareProcessNamespace" in refused.intent.outcome_message
    adopted = accepted(pod(shareProcessNamespace=True), left=True)
    assert adopted is not None
    assert not adopted.intent.rejected, "what runs is not refused"
    let_go = pod(deleted=True)
    metadata = msgspec.structs.replace(let_go.metadata, deletion_grace_period_seconds=0)
    assert accepted(msgspec.structs.replace(let_go, metadata=metadata)) is None


def test_a_sidecar_has_what_is_left_of_the_grace_period() -> None:
    deleted = pod(deleted=True)
    before, later = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    assert last_grace(deleted, before).metadata.deletion_grace_period_seconds == 30
    assert last_grace(deleted, later).metadata.deletion_grace_period_seconds == 2
    assert last_grace(pod(), later) == pod()
    assert due_in(OWN, deleted, before) == 1
    assert due_in(OWN, deleted, later) is None


def test_time_alone_ends_a_pod_at_its_deadline() -> None:
    limited = pod(activeDeadlineSeconds=60)
    assert due_in(OWN, limited, NOW) == 60
    assert due_in(OVER, limited, NOW) is None


def test_waiting_plans_are_equal() -> None:
    assert plan_machine(
        world("web", row("web")), OWN, CONFIG, Stage.WAITING, new_id="", vm_absent=False, now=NOW
    ) == Plan()  # fmt: skip
