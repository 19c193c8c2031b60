"""What the dev host's kubelet says of a Pod."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.devhost.podstatus import PodView, Stage, differs, images, pod_status, status_patch
from kubelet_bridge.model.core import Pod, PodStatus
from kubelet_bridge.model.meta import Condition

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GATE = "kubevirt.io/virtual-machine-unpaused"
DISK = "quay.io/containerdisks/debian:12"


def _launcher(status: PodStatus | None = None, **metadata: Any) -> Pod:
    spec = {
        "initContainers": [
            {"name": "guest-console-log", "image": "launcher:1", "restartPolicy": "Always"},
            {"name": "volumeroot", "image": DISK},
        ],
        "containers": [
            {"name": "compute", "image": "launcher:1", "volumeMounts": [{"name": "root", "mountPath": "/disk"}]},
            {"name": "virtiofs", "image": "launcher:1"},
        ],
        "volumes": [{"name": "root", "image": {"reference": DISK}}, {"name": "private", "emptyDir": {}}],
        "readinessGates": [{"conditionType": GATE}],
    }
    head = {"name": "virt-launcher-web", "namespace": "shop", "uid": "u1", "generation": 2, **metadata}
    pod = msgspec.convert({"metadata": head, "spec": spec}, Pod)
    return pod if status is None else msgspec.structs.replace(pod, status=status)


def _view(stage: Stage, **fields: Any) -> PodView:
    return PodView(stage=stage, host_ip="10.0.0.1", **fields)


RUNNING = _view(Stage.RUNNING, pod_ip="10.0.0.20")


def _with_gate(status: PodStatus, value: str) -> PodStatus:
    return msgspec.structs.replace(status, conditions=[*status.conditions, Condition(GATE, value)])


def _conditions(status: PodStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def test_what_it_needs() -> None:
    assert sorted(set(images(_launcher()))) == sorted({"launcher:1", DISK})


def test_pulling() -> None:
    status = pod_status(_launcher(), _view(Stage.PULLING), NOW)
    assert (status.phase, status.pod_ip, status.start_time) == ("Pending", "", NOW)
    states = [one.state for one in (*status.init_container_statuses, *status.container_statuses)]
    assert {state.waiting.reason for state in states if state and state.waiting} == {"PodInitializing"}
    assert _conditions(status)["Initialized"] == ("False", "ContainersNotInitialized")
    assert _conditions(status)["Ready"] == ("False", "ContainersNotReady")
    assert _conditions(status)["PodScheduled"] == ("True", "")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_only_the_first_container_that_needs_the_image_says_so(reason: str) -> None:
    view = _view(Stage.PULL_FAILED, pull_reason=reason, failing_images=frozenset({DISK}))
    status = pod_status(_launcher(), view, NOW)
    every = (*status.init_container_statuses, *status.container_statuses)
    blamed = [(one.name, one.state.waiting) for one in every if one.state and one.state.waiting]
    assert [(name, waiting.reason) for name, waiting in blamed if waiting.message] == [("volumeroot", reason)]
    assert all(DISK in waiting.message for _, waiting in blamed if waiting.reason == reason)


def test_an_image_volume_fails_the_container_that_mounts_it() -> None:
    pod = _launcher()
    pod = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, init_containers=[]))
    status = pod_status(pod, _view(Stage.PULL_FAILED, failing_images=frozenset({DISK})), NOW)
    reasons = [one.state.waiting.reason for one in status.container_statuses if one.state and one.state.waiting]
    assert reasons == ["ErrImagePull", "ContainerCreating"]


def test_running_waits_for_its_gate() -> None:
    status = pod_status(_launcher(), RUNNING, NOW)
    assert (status.phase, status.pod_ip, status.observed_generation) == ("Running", "10.0.0.20", 2)
    assert _conditions(status)["ContainersReady"] == ("True", "")
    assert _conditions(status)["Ready"] == ("False", "ReadinessGatesNotReady")
    opened = pod_status(_launcher(_with_gate(status, "True")), RUNNING, NOW)
    assert _conditions(opened)["Ready"] == ("True", "")
    sidecar, done = opened.init_container_statuses
    assert sidecar.state is not None
    assert sidecar.state.running is not None
    assert done.state is not None
    assert done.state.terminated is not None
    assert (done.ready, done.state.terminated.exit_code) == (True, 0)
    assert "@sha256:" in str(done.image_id)


def test_only_the_guests_container_waits_for_the_guest() -> None:
    status = pod_status(_launcher(), msgspec.structs.replace(RUNNING, ready=False), NOW)
    assert {one.name: one.ready for one in status.container_statuses} == {"compute": False, "virtiofs": True}
    message = next(condition.message for condition in status.conditions if condition.type == "Ready")
    assert message == "containers with unready status: [compute]"


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "PodCompleted"), (1, "Failed", "PodFailed")])
def test_an_end(code: int, phase: str, reason: str) -> None:
    before = _with_gate(pod_status(_launcher(), RUNNING, NOW), "True")
    later = NOW + timedelta(seconds=9)
    ended = _view(Stage.ENDED, pod_ip="10.0.0.20", exit_code=code)
    status = pod_status(_launcher(before), ended, later)
    assert (status.phase, _conditions(status)["Ready"]) == (phase, ("False", reason))
    terminated = [one.state.terminated for one in status.container_statuses if one.state and one.state.terminated]
    assert [(one.exit_code, one.started_at, one.finished_at) for one in terminated] == [(code, NOW, later)] * 2
    again = pod_status(_launcher(status), ended, later + timedelta(seconds=9))
    assert not differs(_launcher(status), again)


def test_nothing_new_is_not_written_and_times_stay() -> None:
    before = _with_gate(pod_status(_launcher(), RUNNING, NOW), "True")
    ready = pod_status(_launcher(before), RUNNING, NOW + timedelta(seconds=1))
    assert differs(_launcher(before), ready)
    reported = _with_gate(ready, "True")
    assert not differs(_launcher(reported), pod_status(_launcher(reported), RUNNING, NOW + timedelta(hours=1)))


def test_a_patch_takes_old_reasons_away_and_names_the_incarnation() -> None:
    pod = _launcher(_with_gate(PodStatus(), "True"))
    patch = status_patch(pod, pod_status(pod, RUNNING, NOW))
    assert patch["metadata"] == {"uid": "u1"}
    ready = next(condition for condition in patch["status"]["conditions"] if condition["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("True", None, None)
    assert msgspec.json.encode(patch)
