from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.observe import observe

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCEPTED = Intent(uid="u", id="dpl_1", namespace="shop", name="web", vm_name="web", accepted_at=NOW)


def vmi(uid: str, phase: str, **metadata: Any) -> VirtualMachineInstance:
    return msgspec.convert({"metadata": {"uid": uid, **metadata}, "status": {"phase": phase}}, VirtualMachineInstance)


def world(boot: VirtualMachineInstance | None, *, policy: str = "Always", **known: Any) -> Snapshot:
    vm = msgspec.convert({"metadata": {"uid": "vm"}, "spec": {"runStrategy": policy}}, VirtualMachine)
    pod = msgspec.convert({"spec": {"restartPolicy": policy, "containers": [{"name": "web"}]}}, Pod)
    return Snapshot(key=PodKey("shop", "web", "u"), **{"pod": pod, "vm": vm, "vmi": boot, **known})


def after(*boots: VirtualMachineInstance, intent: Intent = ACCEPTED, policy: str = "Always") -> Intent:
    for boot in boots:
        intent = observe(intent, world(boot, policy=policy), NOW)
    return intent


def test_the_first_boot_is_no_restart() -> None:
    seen = after(vmi("a", "Pending"), vmi("a", "Running"))
    assert (seen.vmi_uid, seen.vmi_started, seen.restart_count) == ("a", True, 0)
    assert seen.status is IntentStatus.RUNNING


def test_an_instance_replaced_before_it_ran_is_no_restart() -> None:
    seen = after(vmi("a", "Pending"), vmi("b", "Pending"), vmi("c", "Running"))
    assert (seen.vmi_uid, seen.vmi_started, seen.restart_count, seen.last_termination) == ("c", True, 0, None)
    asked = {"deletionTimestamp": "2026-03-01T12:00:00Z"}
    seen = after(vmi("a", "Pending"), vmi("a", "Pending", **asked), vmi("a", "Failed", **asked), vmi("b", "Running"))
    assert (seen.vmi_uid, seen.restart_count, seen.last_termination) == ("b", 0, None)
    seen = after(vmi("a", "Pending"), vmi("a", "Failed"), vmi("b", "Running"))
    assert (seen.vmi_uid, seen.restart_count) == ("b", 1)


def test_an_instance_that_failed_for_its_disk_before_it_ran_is_no_restart() -> None:
    def failed(intent: Intent, policy: str = "Always") -> Intent:
        return observe(intent, world(vmi("a", "Failed"), policy=policy, disks=["DataVolume data Failed"]), NOW)

    seen = after(vmi("b", "Running"), intent=failed(after(vmi("a", "Pending"))))
    assert (seen.vmi_uid, seen.restart_count, seen.last_termination) == ("b", 0, None)
    assert failed(after(vmi("a", "Running"))).termination is not None
    assert failed(after(vmi("a", "Pending"), policy="Never"), "Never").outcome == "Failed"


def test_another_instance_is_a_restart_and_the_end_of_the_former_is_kept() -> None:
    seen = after(vmi("a", "Running"), vmi("a", "Failed"), vmi("b", "Pending"))
    assert (seen.vmi_uid, seen.vmi_started, seen.restart_count) == ("b", False, 1)
    assert seen.last_termination is not None
    assert (seen.last_termination.vmi_uid, seen.last_termination.exit_code) == ("a", 1)
    assert seen.termination is None


def test_an_end_that_nobody_saw_is_unknown() -> None:
    seen = after(vmi("a", "Running"), vmi("b", "Running"))
    assert seen.last_termination is not None
    assert (seen.last_termination.exit_code, seen.last_termination.reason) == (137, "ContainerStatusUnknown")


def test_the_former_boot_seen_again_is_no_restart() -> None:
    seen = after(vmi("a", "Running"), vmi("b", "Running"), vmi("a", "Running"), vmi("b", "Running"))
    assert (seen.vmi_uid, seen.restart_count) == ("b", 1)


def test_the_launcher_may_tell_the_exit_code_later_and_be_gone_soon() -> None:
    failed = vmi("a", "Failed")
    compute = {"name": "compute", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    launcher = msgspec.convert({"status": {"containerStatuses": [compute]}}, Launcher)
    seen = after(vmi("a", "Running"), failed)
    first = seen.termination
    assert first is not None
    assert (first.exit_code, first.reason) == (1, "Error")
    later = NOW + timedelta(seconds=9)
    told = observe(seen, world(failed, launchers=[launcher]), later)
    assert told.termination is not None
    assert (told.termination.exit_code, told.termination.reason) == (137, "OOMKilled")
    assert told.termination.finished_at == first.finished_at
    assert observe(told, world(failed), later) == told


def test_never_is_never_booted_twice() -> None:
    seen = after(vmi("a", "Running"), vmi("b", "Pending"), policy="Never")
    assert (seen.outcome, seen.outcome_reason) == ("Failed", "VirtualMachineStopped")
    assert (seen.vmi_uid, seen.restart_count) == ("a", 0)


def test_a_guest_that_was_told_to_stop_has_not_succeeded() -> None:
    asked = NOW.isoformat()
    stopped = (vmi("a", "Running"), vmi("a", "Running", deletionTimestamp=asked))
    seen = after(*stopped, vmi("a", "Succeeded", deletionTimestamp=asked), policy="OnFailure")
    assert seen.vmi_stopping
    assert seen.outcome == ""
    assert seen.status is IntentStatus.OFF


def test_a_guest_that_began_and_ended_while_nobody_looked_has_succeeded() -> None:
    def seen(**status: Any) -> str:
        spec = {"runStrategy": "RerunOnFailure"}
        stopped = {"printableStatus": "Stopped", **status}
        vm = msgspec.convert({"metadata": {"uid": "vm"}, "spec": spec, "status": stopped}, VirtualMachine)
        return observe(ACCEPTED, world(None, policy="OnFailure", vm=vm), NOW).outcome

    assert seen(runStrategy="RerunOnFailure") == "Succeeded"
    assert seen() == "", "its first instance has not been made yet"
    assert seen(runStrategy="RerunOnFailure", stateChangeRequests=[{"action": "Start"}]) == ""


def test_an_instance_deleted_after_it_succeeded_was_not_told_to_stop() -> None:
    ended = {"phase": "Succeeded", "phaseTransitionTimestamp": NOW.isoformat()}
    boot = msgspec.convert(
        {
            "metadata": {"uid": "a", "deletionTimestamp": NOW.isoformat()},
            "status": {"phase": "Succeeded", "phaseTransitionTimestamps": [ended]},
        },
        VirtualMachineInstance,
    )
    assert after(boot, policy="OnFailure").outcome == "Succeeded"


def test_the_deadline_counts_from_acceptance() -> None:
    pod = msgspec.convert({"spec": {"activeDeadlineSeconds": 10}}, Pod)
    early = observe(ACCEPTED, world(None, pod=pod), NOW + timedelta(seconds=9))
    assert early.outcome == ""
    late = observe(ACCEPTED, world(None, pod=pod), NOW + timedelta(seconds=10))
    assert (late.outcome, late.outcome_reason) == ("Failed", "DeadlineExceeded")


def test_a_pod_that_is_gone_still_has_its_boots_counted() -> None:
    seen = observe(ACCEPTED, world(vmi("a", "Running"), pod=None), NOW)
    assert (seen.vmi_uid, seen.vmi_started) == ("a", True)


def test_a_guest_that_outlasts_its_grace_period_was_killed() -> None:
    asked = NOW.isoformat()
    seen = after(vmi("a", "Running", deletionTimestamp=asked), vmi("a", "Failed", deletionTimestamp=asked))
    assert seen.termination is not None
    assert (seen.termination.exit_code, seen.termination.reason) == (137, "Error")
