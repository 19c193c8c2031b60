"""Which run a request for a log is about, and the kubelet's words when there is none."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.kubelet_api.logs.refused import LogsRefused
from kubelet_bridge.kubelet_api.logs.selection import Run, choose
from kubelet_bridge.model.core import Pod

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def ended(identifier: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": 1, "containerID": identifier}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def pod(kind: str = "containerStatuses", **status: Any) -> Pod:
    spec = {
        "containers": [{"name": "app", "image": "a"}], "initContainers": [{"name": "first", "image": "a"}],
        "ephemeralContainers": [{"name": "debugger", "image": "a"}],
    }  # fmt: skip
    statuses = {kind: [{"name": "app", **status}]} if status else {}
    return msgspec.convert({"metadata": {"name": "web"}, "spec": spec, "status": statuses}, type=Pod)


@pytest.mark.parametrize(
    ("status", "previous", "wanted"),
    [
        ({"state": RUNNING, "containerID": "x://2", "restartCount": 2}, False, Run("x://2", (2,), running=True)),
        ({"state": RUNNING, "lastState": ended("x://1"), "restartCount": 2}, True, Run("x://1", (1,))),
        ({"state": ended("x://2"), "restartCount": 2}, False, Run("x://2", (2,))),
        ({"state": ended("x://2"), "lastState": ended("x://1"), "restartCount": 2}, True, Run("x://1", (1,))),
        # What could not be started has no log, and the one before it is shown.
        ({"state": ended(), "lastState": ended("x://1"), "restartCount": 2}, False, Run("x://1", (1,))),
        # One that waits to be started again counts its last run, whichever of the two is asked for.
        ({"state": waiting("CrashLoopBackOff"), "lastState": ended("x://2"), "restartCount": 2}, False,
         Run("x://2", (2,))),
        ({"state": waiting("CrashLoopBackOff"), "lastState": ended("x://2"), "restartCount": 2}, True,
         Run("x://2", (2,))),
        # In a machine that has begun anew, it may count the next one already.
        ({"state": waiting("ContainerCreating"), "lastState": ended("x://2"), "restartCount": 3}, False,
         Run("x://2", (3, 2))),
        ({"lastState": ended("x://0"), "restartCount": 0}, False, Run("x://0", (0,))),
    ],
)  # fmt: skip
def test_which_run(status: dict[str, Any], previous: bool, wanted: Run) -> None:
    assert choose(pod(**status), "app", previous=previous) == wanted


@pytest.mark.parametrize(
    ("status", "previous", "words"),
    [
        ({}, False, 'container "app" in pod "web" is not available'),
        ({"state": RUNNING}, True, 'previous terminated container "app" in pod "web" not found'),
        ({"state": RUNNING, "lastState": ended()}, True, 'previous terminated container "app" in pod "web" not found'),
        ({"state": ended()}, False, 'container "app" in pod "web" is terminated'),
        ({"state": waiting("CrashLoopBackOff"), "lastState": ended()}, False,
         'container "app" in pod "web" is terminated'),
        ({"state": waiting("ContainerCreating")}, False,
         'container "app" in pod "web" is waiting to start: ContainerCreating'),
        ({"state": waiting("ErrImagePull")}, False,
         'container "app" in pod "web" is waiting to start: image can\'t be pulled'),
        ({"state": waiting("ImagePullBackOff")}, False,
         'container "app" in pod "web" is waiting to start: trying and failing to pull image'),
        ({"restartCount": 0}, False, 'container "app" in pod "web" is waiting to start - no logs yet'),
    ],
)  # fmt: skip
def test_when_there_is_none(status: dict[str, Any], previous: bool, words: str) -> None:
    with pytest.raises(LogsRefused) as refused:
        choose(pod(**status), "app", previous=previous)
    assert (refused.value.status, refused.value.message) == (400, words)


def test_a_container_that_is_none() -> None:
    with pytest.raises(LogsRefused) as refused:
        choose(pod(), "nobody")
    assert (refused.value.status, refused.value.message) == (404, 'container "nobody" not found in pod "web"')


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_every_kind_of_container_has_logs(kind: str) -> None:
    status = {"state": RUNNING, "containerID": "x://0", "restartCount": 0}
    assert choose(pod(kind, **status), "app") == Run("x://0", (0,), running=True)
