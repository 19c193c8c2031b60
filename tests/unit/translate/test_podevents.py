"""A Pod's life, told in the events that its statuses amount to."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod, PodStatus
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import PodEvent, Snapshot
from kubelet_bridge.translate import podevents, podstatus
from kubelet_bridge.translate.observe import observe

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POD = msgspec.convert({"spec": {"containers": [{"name": "web", "image": "disk:1"}]}}, Pod)
VM = {"metadata": {"uid": "vm"}, "status": {"created": True}}


def boot(uid: str, phase: str, ready: str = "False") -> dict[str, Any]:
    return {
        "metadata": {"uid": uid},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    }


def launcher(*, waits: str = "", image_id: str = "") -> list[dict[str, Any]]:
    disk = {
        "name": "volumeroot",
        "imageID": image_id,
        "state": {"waiting": {"reason": waits, "message": "no such tag"}},
    }
    status = {"podIP": "10.0.0.1", "initContainerStatuses": [disk]}
    return [{"metadata": {"uid": "l"}, "spec": {"nodeName": "metal-1"}, "status": status}]


def told(*life: dict[str, Any]) -> list[PodEvent]:
    """The events of a life, and none for a status that is built a second time."""
    intent = Intent(uid="u", id="dpl_1", namespace="shop", name="web-0", vm_name="web-0", accepted_at=NOW)
    status, heard = PodStatus(phase="Pending"), []
    for step in life:
        snapshot = Snapshot(
            key=PodKey("shop", "web-0", "u"),
            pod=msgspec.structs.replace(POD, status=status),
            vm=msgspec.convert(step.get("vm"), VirtualMachine | None),
            vmi=msgspec.convert(step.get("vmi"), VirtualMachineInstance | None),
            launchers=msgspec.convert(step.get("launchers", []), list[Launcher]),
        )
        intent = observe(intent, snapshot, NOW)
        snapshot = msgspec.structs.replace(snapshot, intent=intent)
        after = podstatus.build(snapshot, host_ip="192.0.2.1", problem=None, now=NOW)
        heard += podevents.events(status, after, snapshot)
        assert podevents.events(after, after, snapshot) == []
        status = after
    return heard


def words(events: list[PodEvent]) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in events]


def test_a_normal_life_takes_three() -> None:
    heard = told(
        {},
        {"vm": VM},
        {"vm": VM, "vmi": boot("a", "Scheduling"), "launchers": launcher()},
        {"vm": VM, "vmi": boot("a", "Scheduled"), "launchers": launcher(image_id="disk@sha256:1")},
        {"vm": VM, "vmi": boot("a", "Running"), "launchers": launcher(image_id="disk@sha256:1")},
        {"vm": VM, "vmi": boot("a", "Running", "True"), "launchers": launcher(image_id="disk@sha256:1")},
    )
    assert words(heard) == [
        ("Pulling", 'Pulling image "disk:1"'),
        ("Created", "Container created"),
        ("Started", "Container started"),
    ]
    assert {one.field_path for one in heard} == {"spec.containers{web}"}


def test_an_image_that_is_there_is_not_pulled() -> None:
    heard = told({"vm": VM, "vmi": boot("a", "Running"), "launchers": launcher(image_id="disk@sha256:1")})
    assert [one.reason for one in heard] == ["Created", "Started"]


def test_a_bad_image() -> None:
    waiting = {"vm": VM, "vmi": boot("a", "Scheduling")}
    heard = told(
        {**waiting, "launchers": launcher()},
        {**waiting, "launchers": launcher(waits="ErrImagePull")},
        {**waiting, "launchers": launcher(waits="ErrImagePull")},
        {**waiting, "launchers": launcher(waits="ImagePullBackOff")},
    )
    assert words(heard) == [
        ("Pulling", 'Pulling image "disk:1"'),
        ("Failed", 'Failed to pull image "disk:1": no such tag'),
        ("BackOff", 'Back-off pulling image "disk:1"'),
    ]


def test_a_restart_starts_a_container_again() -> None:
    crash_loop = {**VM, "status": {"printableStatus": "CrashLoopBackOff"}}
    heard = told(
        {"vm": VM, "vmi": boot("a", "Running")},
        {"vm": VM, "vmi": boot("a", "Failed")},
        {"vm": crash_loop},
        {"vm": VM, "vmi": boot("b", "Running")},
    )
    assert [one.reason for one in heard] == ["Created", "Started", "BackOff", "Created", "Started"]
    assert heard[2].message == "Back-off restarting failed container web in pod web-0_shop(u)"
