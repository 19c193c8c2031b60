"""What the dev host's virt-handler says of a VirtualMachineInstance, alone and in a migration."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.devhost import migration, vmistatus
from kubelet_bridge.devcluster.devhost.guestspec import guest_spec, last_state
from kubelet_bridge.devcluster.devhost.migration import Step
from kubelet_bridge.devcluster.devhost.runtime import Exit, GuestInfo, GuestState
from kubelet_bridge.devcluster.devhost.vmistatus import GuestView
from kubelet_bridge.model.core import Pod, PodStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
INFO = GuestInfo("8", "web", "debian", "Debian", "Debian 12", "12", "6.1", "#1", "x86_64", "UTC, 0")


def _vmi(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "5b0d4b0e-7f4e-4a34-9a53-2d1f1f0c0001", "resourceVersion": "7",
            "labels": {"kubevirt.io/nodeName": "a", "mine": "kept"},
        },
        "spec": {
            "domain": {
                "cpu": {"sockets": 2, "cores": 1, "threads": 1, "maxSockets": 4}, "memory": {"guest": "2Gi"},
                "machine": {"type": "q35"},
                "devices": {
                    "disks": [
                        {"name": "root", "disk": {"bus": "virtio"}}, {"name": "seed", "cdrom": {"bus": "sata"}},
                        {"name": "data", "disk": {"bus": "virtio"}},
                    ],
                    "interfaces": [{"name": "default", "masquerade": {}}],
                },
            },
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [
                {"name": "root", "containerDisk": {"image": "debian:12"}},
                {"name": "seed", "cloudInitNoCloud": {}}, {"name": "data", "emptyDisk": {}},
            ],
        },
        "status": {
            "phase": "Scheduled", "nodeName": "a", "activePods": {"p1": "a"}, "unknown": {"field": 1},
            "currentCPUTopology": {"sockets": 1, "cores": 1, "threads": 1},
            "memory": {"guestAtBoot": "1Gi", "guestRequested": "1Gi"},
            "conditions": [{"type": "Ready", "status": "False"}],
            "interfaces": [{"name": "default", "podInterfaceName": "eth0"}],
            "volumeStatus": [{"name": "root"}, {"name": "data"}],
            "phaseTransitionTimestamps": [{"phase": "Scheduled", "phaseTransitionTimestamp": "2026-01-01T00:00:00Z"}],
            **status,
        },
    }  # fmt: skip


def _seen(info: GuestInfo | None = INFO, *, graceful: bool = True, **state: Any) -> GuestView:
    return GuestView(GuestState(started_at=NOW, **state), "10.0.0.20", info, graceful)


def _conditions(vmi: dict[str, Any]) -> dict[str, str]:
    return {
        condition["type"]: condition.get("reason", condition["status"]) for condition in vmi["status"]["conditions"]
    }


def test_running() -> None:
    before = _vmi()
    after = vmistatus.reported(before, _seen(booted=True), NOW)
    status = after["status"]
    assert before == _vmi()
    assert (status["phase"], status["phaseTransitionTimestamps"][-1]) == (
        "Running", {"phase": "Running", "phaseTransitionTimestamp": "2026-01-02T03:04:05Z"},
    )  # fmt: skip
    interface = status["interfaces"][0]
    assert (interface["ipAddress"], interface["podInterfaceName"], interface["mac"]) == (
        "10.0.0.20", "eth0", "02:1f:0c:00:01:00",
    )  # fmt: skip
    assert [(volume["name"], volume["target"]) for volume in status["volumeStatus"]] == [
        ("data", "vdb"),
        ("root", "vda"),
    ]
    assert _conditions(after) == {
        "Ready": "False", "LiveMigratable": "True", "StorageLiveMigratable": "True", "AgentConnected": "True",
    }  # fmt: skip
    assert (status["migrationMethod"], status["selinuxContext"], status["machine"]) == (
        "BlockMigration", "none", {"type": "q35"},
    )  # fmt: skip
    assert status["guestOSInfo"]["prettyName"] == "Debian 12"
    assert status["memory"]["guestCurrent"] == "1Gi"
    assert (status["unknown"], status["activePods"]) == ({"field": 1}, {"p1": "a"})


def test_saying_it_again_says_nothing_new() -> None:
    once = vmistatus.reported(_vmi(), _seen(booted=True, paused=True, frozen=True), NOW)
    assert vmistatus.reported(once, _seen(booted=True, paused=True, frozen=True), LATER) == once


def test_pause_freeze_and_agent_come_and_go() -> None:
    there = vmistatus.reported(_vmi(), _seen(booted=True, paused=True, frozen=True), NOW)
    assert (_conditions(there)["Paused"], there["status"]["fsFreezeStatus"]) == ("PausedByUser", "frozen")
    gone = vmistatus.reported(there, _seen(None), NOW)
    assert not {"Paused", "AgentConnected"} & _conditions(gone).keys()
    assert "fsFreezeStatus" not in gone["status"]


@pytest.mark.parametrize(
    ("reason", "graceful", "phase"),
    [
        (Exit.SHUTDOWN, True, "Succeeded"),
        (Exit.CRASHED, True, "Failed"),
        (Exit.DESTROYED, True, "Failed"),
        (Exit.DESTROYED, False, "Succeeded"),
        (Exit.MIGRATED, True, "Running"),
    ],
)
def test_an_end(reason: Exit, graceful: bool, phase: str) -> None:
    running = vmistatus.reported(_vmi(), _seen(booted=True), NOW)
    ended = vmistatus.reported(running, _seen(None, graceful=graceful, exit=reason), LATER)
    assert ended["status"]["phase"] == phase


def test_what_cannot_be_migrated() -> None:
    claim = _vmi()
    claim["spec"]["volumes"].append({"name": "pvc", "persistentVolumeClaim": {"claimName": "c"}})
    assert _conditions(vmistatus.reported(claim, _seen(), NOW))["LiveMigratable"] == "DisksNotLiveMigratable"
    shared = {"name": "pvc", "persistentVolumeClaimInfo": {"accessModes": ["ReadWriteMany"]}}
    claim["status"]["volumeStatus"].append(shared)
    assert _conditions(vmistatus.reported(claim, _seen(), NOW))["LiveMigratable"] == "True"
    bridged = _vmi()
    bridged["spec"]["domain"]["devices"]["interfaces"] = [{"name": "default", "bridge": {}}]
    found = _conditions(vmistatus.reported(bridged, _seen(), NOW))
    assert (found["LiveMigratable"], found["StorageLiveMigratable"]) == ("InterfaceNotLiveMigratable", "NotMigratable")


def test_what_a_restarted_host_takes_for_granted() -> None:
    running = vmistatus.reported(_vmi(), _seen(booted=True, paused=True, frozen=True), NOW)
    assert last_state(running, LATER) == GuestState(started_at=NOW, booted=True, paused=True, frozen=True)
    assert last_state(_vmi(), LATER) == GuestState(started_at=LATER, booted=True)


def test_what_a_runtime_is_told() -> None:
    vmi = _vmi()
    launcher = Pod(status=PodStatus(pod_ip="10.0.0.20"))
    plain = guest_spec(vmi, launcher)
    assert (plain.hostname, plain.address, plain.paused, plain.uid) == (
        "web",
        "10.0.0.20",
        False,
        vmi["metadata"]["uid"],
    )
    vmi["spec"] |= {"hostname": "www", "startStrategy": "Paused"}
    named = guest_spec(vmi, launcher)
    assert (named.hostname, named.paused, msgspec.json.decode(named.vmi)) == ("www", True, vmi)


def test_a_vmi_with_next_to_nothing() -> None:
    bare = {
        "metadata": {"name": "x", "namespace": "shop", "uid": "0001"},
        "spec": {"domain": {"devices": {}}}, "status": {"phase": "Scheduled"},
    }  # fmt: skip
    after = vmistatus.reported(bare, _seen(), NOW)
    assert (after["status"]["phase"], after["status"]["interfaces"]) == ("Running", [])
    assert vmistatus.grace_period(bare) == 30
    assert vmistatus.images(bare) == []


def _migrating(**state: Any) -> dict[str, Any]:
    known = {"migrationUid": "m1", "sourceNode": "a", "targetNode": "b", "targetPod": "t", "sourcePod": "s", **state}
    vmi = _vmi(phase="Running", migrationState=known, evacuationNodeName="a")
    vmi["metadata"]["labels"]["kubevirt.io/migrationTargetNodeName"] = "b"
    return vmi


LISTENING = {"targetNodeAddress": "10.0.0.2"}
ENDED = {"completed": True, "endTimestamp": "2026-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("state", "source", "target"),
    [
        ({}, Step.WAIT, Step.RECEIVE),
        (LISTENING, Step.SEND, Step.TAKE_OVER),
        ({**LISTENING, "abortRequested": True}, Step.ABORT, Step.TAKE_OVER),
        ({**LISTENING, **ENDED}, Step.NONE, Step.CLEAN),
    ],
)
def test_whose_turn_it_is(state: dict[str, Any], source: Step, target: Step) -> None:
    vmi = _migrating(**state)
    assert migration.source_step(vmi, "a") == source
    assert migration.target_step(vmi, "b") == target
    assert (migration.source_step(vmi, "b"), migration.target_step(vmi, "a")) == (Step.NONE, Step.NONE)
    assert (migration.source_step(_vmi(), "a"), migration.target_step(_vmi(), "a")) == (Step.NONE, Step.NONE)


def test_a_migration_brings_what_a_resize_waited_for() -> None:
    vmi = _migrating(**LISTENING, targetMemoryOverhead="300Mi")
    vmi["status"]["conditions"] += [
        {"type": "HotVCPUChange", "status": "True"},
        {"type": "HotMemoryChange", "status": "True"},
    ]
    vmi["metadata"]["labels"]["kubevirt.io/vmi-pod-memory-resource-requests"] = "1Gi"
    begun = migration.begun(migration.prepared(vmi, "10.0.0.2", {"49152": 0}), NOW)
    assert begun["status"]["migrationState"]["startTimestamp"] == "2026-01-02T03:04:05Z"
    moved = migration.cleaned(migration.arrived(begun, "b", LATER))
    status, labels = moved["status"], moved["metadata"]["labels"]
    assert labels == {"kubevirt.io/nodeName": "b", "mine": "kept"}
    assert (status["nodeName"], "evacuationNodeName" in status) == ("b", False)
    assert status["currentCPUTopology"] == {"sockets": 2, "cores": 1, "threads": 1}
    assert status["memory"] == {
        "guestAtBoot": "1Gi", "guestRequested": "2Gi", "guestCurrent": "2Gi", "memoryOverhead": "300Mi",
    }  # fmt: skip
    assert _conditions(moved) == {"Ready": "False"}
    state = status["migrationState"]
    assert (state["completed"], state["startTimestamp"], state["endTimestamp"]) == (
        True, "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z",
    )  # fmt: skip


def test_a_migration_given_up() -> None:
    vmi = migration.aborted(_migrating(**LISTENING, abortRequested=True), "enough", NOW)
    state = vmi["status"]["migrationState"]
    assert (state["failed"], state["failureReason"], state["abortStatus"]) == (True, "enough", "Succeeded")
    assert vmi["status"]["nodeName"] == "a"
    assert migration.has_failed(vmi)
