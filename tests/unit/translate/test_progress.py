"""CDI's words about a DataVolume, as claims and Pods are told them."""

from typing import Any

import pytest

from kubelet_bridge.translate.storage import progress
from tests.support.volumes import datavolume

RUNNING = {"type": "Running", "status": "True", "reason": "Pod is running"}
FAILED = {"type": "Running", "status": "False", "reason": "Error", "message": "Unable to connect: 404 Not Found"}
QUOTA = {"type": "Bound", "status": "False", "reason": "ErrExceededQuota", "message": "exceeded quota: small"}
STARTING = {"type": "Running", "status": "False", "reason": "ContainerCreating", "message": "..."}
UNBOUND = {"type": "Bound", "status": "False", "reason": "Pending", "message": "PVC data Pending"}
PROVISIONING = UNBOUND | {
    "message": "target PVC copy Pending and [prime-1] : Waiting for a volume to be created either by ..."
}
CONFLICT = UNBOUND | {
    "message": "target PVC copy Pending and [tmp-pvc-1] : Error saving claim: Operation cannot be fulfilled on ..."
}
FIRST_CONSUMER = UNBOUND | {
    "message": "target PVC data Pending and [prime-1] : waiting for first consumer to be created before binding"
}
IN_USE = {
    "type": "Bound",
    "status": "False",
    "reason": "Pending",
    "message": "target PVC copy Pending and pod default/virt-launcher-web using PersistentVolumeClaim data",
}
UNSCHEDULABLE = {"type": "Running", "status": "False", "reason": "Unschedulable", "message": "cannot be scheduled"}
HEAD = "DataVolume data-1a2b3c4d"


@pytest.mark.parametrize(
    ("phase", "status", "said"),
    [
        ("ImportInProgress", {"progress": "42.50%", "conditions": [RUNNING]}, f"{HEAD} ImportInProgress 42.50%"),
        ("ImportInProgress", {"progress": "N/A", "conditions": [STARTING]}, f"{HEAD} ImportInProgress"),
        ("ImportInProgress", {"conditions": [FAILED]}, f"{HEAD} ImportInProgress: Unable to connect: 404 Not Found"),
        ("Pending", {"conditions": [QUOTA]}, f"{HEAD} Pending: exceeded quota: small"),
        ("CloneScheduled", {"conditions": [UNBOUND]}, f"{HEAD} CloneScheduled"),
        ("CloneInProgress", {"conditions": [PROVISIONING]}, f"{HEAD} CloneInProgress"),
        ("CloneInProgress", {"conditions": [CONFLICT]}, f"{HEAD} CloneInProgress"),
        ("CloneInProgress", {"conditions": [IN_USE]}, f"{HEAD} CloneInProgress: {IN_USE['message']}"),
        ("Pending", {"conditions": [UNSCHEDULABLE, UNBOUND]}, f"{HEAD} Pending: cannot be scheduled"),
        ("Pending", {"conditions": [UNSCHEDULABLE, PROVISIONING]}, f"{HEAD} Pending: {PROVISIONING['message']}"),
        ("Pending", {"conditions": [UNSCHEDULABLE, FIRST_CONSUMER]}, f"{HEAD} Pending: cannot be scheduled"),
        ("Pending", {"conditions": [UNSCHEDULABLE, IN_USE]}, f"{HEAD} Pending: {IN_USE['message']}"),
        ("Succeeded", {"progress": "100.0%", "conditions": [FAILED]}, f"{HEAD} Succeeded"),
        ("", {"progress": "N/A", "conditions": [QUOTA]}, f"{HEAD}: exceeded quota: small"),
        ("", {}, f"{HEAD} not taken up by CDI yet: is its controller running?"),
        ("Failed", {}, f"{HEAD} Failed: failed"),
    ],
)
def test_words(phase: str, status: dict[str, Any], said: str) -> None:
    assert progress.words(datavolume(phase=phase, **status)) == said


@pytest.mark.parametrize("conditions", [[], [UNSCHEDULABLE, UNBOUND], [UNSCHEDULABLE, PROVISIONING], [FAILED]])
def test_what_the_storage_says_is_told_before_what_follows_from_it(conditions: list[dict[str, str]]) -> None:
    made = datavolume(phase="Pending", conditions=conditions)
    assert (
        progress.words(made, "failed to provision volume: full") == f"{HEAD} Pending: failed to provision volume: full"
    )
    (note,) = progress.notes(made, "failed to provision volume: full")
    assert (note.type, note.reason) == ("Warning", "DataVolumeTrouble")


def test_what_the_storage_said_of_a_disk_that_is_there_is_told_no_more() -> None:
    assert "full" not in progress.words(datavolume(phase="Succeeded"), "full")


def test_events_come_by_the_quarter_and_not_by_the_percent() -> None:
    said = [
        note.message for percent in ("1.00%", "24.99%", "25.00%", "49.00%", "80.00%", "100.0%")
        for note in progress.notes(datavolume(phase="ImportInProgress", progress=percent))
    ]  # fmt: skip
    in_progress = f"{HEAD} ImportInProgress"
    assert said == [in_progress, in_progress, *(f"{in_progress} {one}%" for one in (25, 25, 75, 100))]


def test_what_goes_wrong_is_a_warning_in_cdis_own_words() -> None:
    (note,) = progress.notes(datavolume(phase="ImportInProgress", progress="3.00%", conditions=[FAILED]))
    assert (note.type, note.message) == ("Warning", f"{HEAD} ImportInProgress: {FAILED['message']}")


def test_an_upload_says_what_it_waits_for() -> None:
    waiting = datavolume(phase="UploadReady", annotations={"kubelet-bridge.io/pvc-name": "data"})
    assert "waiting for the upload" in progress.words(waiting)
