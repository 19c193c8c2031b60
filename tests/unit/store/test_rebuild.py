"""What the cluster still knows of the promises in a lost database."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Allocation, Intent, IntentStatus, Termination
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import PodKey, hashed_vm_name, machine_key
from kubelet_bridge.store.rebuild import LOST_VM, rebuild
from tests.support.intents import NOW, later

BORN = "2026-03-04T05:06:07Z"


def vm(name: str = "web-0", uid: str = "pod-1", **parts: Any) -> VirtualMachine:
    metadata = {
        "name": name, "namespace": "shop", "uid": f"vm-of-{uid}", "creationTimestamp": BORN,
        "labels": {"kubelet-bridge.io/pod-uid": uid, "kubelet-bridge.io/pod-name": "web-0"},
        "annotations": {"kubelet-bridge.io/id": "dpl_k7m2p9qx", "kubelet-bridge.io/spec-hash": "5ca1ab1e"},
    }  # fmt: skip
    metadata |= parts.pop("metadata", {})
    return msgspec.convert({"metadata": metadata, "status": {"ready": True}, **parts}, VirtualMachine)


def pod(uid: str = "pod-1", name: str = "web-0", **status: Any) -> Pod:
    container = {
        "name": "web",
        "image": "quay.io/disks/debian:12",
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    }
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "creationTimestamp": BORN, "generation": 3},
            "spec": {"nodeName": "kubelet-bridge", "containers": [container]},
            "status": status,
        },
        Pod,
    )


RUNNING: dict[str, Any] = {
    "phase": "Running",
    "startTime": "2026-03-04T05:06:10Z",
    "containerStatuses": [
        {
            "name": "web", "ready": True, "restartCount": 2, "image": "x", "imageID": "y", "containerID": "kubevirt://vmi-3",
            "state": {"running": {"startedAt": BORN}},
            "lastState": {"terminated": {
                "exitCode": 1, "reason": "Error", "message": "oops", "startedAt": BORN,
                "finishedAt": "2026-03-04T05:07:07Z", "containerID": "kubevirt://vmi-2",
            }},
            "allocatedResources": {"cpu": "1500m", "memory": "1Gi"},
        }
    ],
}  # fmt: skip


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers = iter(range(100))
    return lambda: f"dpl_new{next(numbers):05d}"


def test_a_running_pod_is_known_as_before(new_id: Callable[[], str]) -> None:
    assert rebuild([vm()], [pod(**RUNNING)], new_id=new_id) == [
        Intent(
            uid="pod-1", id="dpl_k7m2p9qx", namespace="shop", name="web-0", status=IntentStatus.RUNNING,
            vm_name="web-0", vm_uid="vm-of-pod-1", spec_hash="5ca1ab1e", boot_image="quay.io/disks/debian:12",
            allocation=Allocation(cpu=2, memory=1 << 30, requests={"web": {"cpu": "1500m", "memory": "1Gi"}}),
            vmi_uid="vmi-3", vmi_started=True, restart_count=2,
            last_termination=Termination("vmi-2", 1, "Error", "oops", NOW, later(60)), accepted_at=later(3),
        )
    ]  # fmt: skip


def test_a_vm_whose_pod_has_no_status_yet(new_id: Callable[[], str]) -> None:
    [found] = rebuild([vm(status={})], [pod()], new_id=new_id)
    assert (found.vm_name, found.vm_uid, found.accepted_at) == ("web-0", "vm-of-pod-1", NOW)
    assert (found.status, found.restart_count, found.vmi_uid) == (IntentStatus.PROVISIONING, 0, "")


def test_a_vm_without_a_pod_is_still_ours_to_take_down(new_id: Callable[[], str]) -> None:
    [found] = rebuild([vm(name="web-0-1a2b3c4d")], [], new_id=new_id)
    assert (found.uid, found.name, found.vm_name, found.vm_uid) == ("pod-1", "web-0", "web-0-1a2b3c4d", "vm-of-pod-1")
    long_name: dict[str, Any] = {"metadata": {"annotations": {"kubelet-bridge.io/pod-name": "a.very.long.name"}}}
    assert rebuild([vm(**long_name)], [], new_id=new_id)[0].name == "a.very.long.name"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_outcome_is_never_taken_back(new_id: Callable[[], str], phase: str) -> None:
    terminated = {"exitCode": 3, "reason": "Error", "containerID": "kubevirt://vmi-1"}
    ended = {"name": "web", "containerID": "kubevirt://vmi-1", "state": {"terminated": terminated}}
    status: dict[str, Any] = {
        "phase": phase,
        "reason": "Why",
        "message": "so",
        "startTime": BORN,
        "containerStatuses": [ended],
    }
    for vms in ([], [vm()]):
        [found] = rebuild(vms, [pod(**status)], new_id=new_id)
        assert (found.outcome, found.outcome_reason, found.outcome_message) == (phase, "Why", "so")
        assert found.status is IntentStatus.OFF
        assert found.termination == Termination("vmi-1", 3, "Error")
        assert not found.rejected


def test_a_rejected_pod_stays_rejected(new_id: Callable[[], str]) -> None:
    [found] = rebuild([], [pod(phase="Failed", reason="UnsupportedPodSpec")], new_id=new_id)
    assert found.rejected
    assert found.vm_uid == ""


def test_a_pod_that_was_not_accepted_is_left_to_the_sync_loop(new_id: Callable[[], str]) -> None:
    assert rebuild([], [pod(phase="Pending")], new_id=new_id) == []


def test_a_vm_that_ran_and_is_not_there_is_not_forgotten(new_id: Callable[[], str]) -> None:
    [found] = rebuild([], [pod(**RUNNING)], new_id=new_id)
    assert (found.vm_uid, found.restart_count, found.id) == (LOST_VM, 2, "dpl_new00000")


def test_a_new_vm_name_makes_way_for_one_that_is_taken(new_id: Callable[[], str]) -> None:
    stranger = vm(uid="", metadata={"labels": {}})
    [found] = rebuild([stranger], [pod(phase="Pending", startTime=BORN)], new_id=new_id)
    assert found.vm_name == hashed_vm_name(PodKey("shop", "web-0", "pod-1"))
    assert found.vm_uid == ""


def test_a_successor_is_not_mistaken_for_its_predecessor(new_id: Callable[[], str]) -> None:
    old, new = rebuild([vm(uid="old")], [pod(uid="young", phase="Pending", startTime=BORN)], new_id=new_id)
    assert (old.uid, old.vm_name, old.vm_uid) == ("old", "web-0", "vm-of-old")
    assert (new.uid, new.vm_uid) == ("young", "")
    assert new.vm_name != "web-0"


def test_of_two_vms_for_one_pod_the_one_that_stays_counts(new_id: Callable[[], str]) -> None:
    going = vm(name="going", metadata={"deletionTimestamp": BORN, "name": "going", "uid": "going"})
    for vms in ([going, vm()], [vm(), going]):
        assert [found.vm_name for found in rebuild(vms, [pod(**RUNNING)], new_id=new_id)] == ["web-0"]


def test_a_copied_id_is_not_shared(new_id: Callable[[], str]) -> None:
    found = rebuild([vm(uid="a"), vm(uid="b", name="web-1")], [], new_id=new_id)
    assert [one.id for one in found] == ["dpl_k7m2p9qx", "dpl_new00000"]


def test_a_pod_with_a_vm_for_each_container_has_rows_for_what_has_begun(new_id: Callable[[], str]) -> None:
    def status(name: str, **state: Any) -> dict[str, Any]:
        return {"name": name, "containerID": "kubevirt://vmi-1" if state else "", "state": state or {"waiting": {}}}

    containers = [{"name": name, "image": "quay.io/disks/debian:12"} for name in ("web", "log")]
    ended = {"terminated": {"exitCode": 0, "containerID": "kubevirt://vmi-1"}}
    whole: Pod = msgspec.convert(
        {
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "pod-1",
                "annotations": {"kubelet-bridge.io/containers": "vm-per-container"},
            },
            "spec": {"initContainers": [{"name": "first", "image": "x"}], "containers": containers},
            "status": {
                "phase": "Pending", "startTime": BORN, "initContainerStatuses": [status("first", **ended)],
                "containerStatuses": [status("web", running={"startedAt": BORN}), status("log")],
            },
        },
        Pod,
    )  # fmt: skip
    labels = {"kubelet-bridge.io/pod-uid": "pod-1", "kubelet-bridge.io/container": "web"}
    own = PodKey("shop", "web-0", "pod-1")
    made = rebuild([vm("web-0-web-1", metadata={"labels": labels})], [whole], new_id=new_id)
    rows = {one.container: one for one in made}
    assert set(rows) == {"", "first", "web"}, "what has not begun has no row"
    assert rows[""].machines
    assert (rows[""].uid, rows[""].outcome, rows[""].vm_name) == ("pod-1", "", "")
    assert rows["web"].key == machine_key(own, "web")
    assert (rows["web"].vm_name, rows["web"].vm_uid, rows["web"].vmi_uid) == ("web-0-web-1", "vm-of-pod-1", "vmi-1")
    assert (rows["first"].outcome, rows["first"].vm_uid) == ("Succeeded", LOST_VM)
    assert rows["first"].vm_name == hashed_vm_name(machine_key(own, "first"))
    orphans = rebuild([vm("web-0-web-1", metadata={"labels": labels})], [], new_id=new_id)
    assert {one.container: one.uid for one in orphans} == {"": "pod-1", "web": machine_key(own, "web").uid}
