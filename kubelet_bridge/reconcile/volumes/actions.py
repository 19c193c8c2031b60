"""The steps the planner of disks may ask for. Each may be repeated without harm; after each the plan is made again."""

from typing import Any

import msgspec

from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.volumeintent import VolumeIntent
from kubelet_bridge.model.volumesnapshot import Part

Json = dict[str, Any]


class Accept(msgspec.Struct, frozen=True):
    """Commit the first row for a claim: before anything is written to the cluster for it."""

    intent: VolumeIntent


class Record(msgspec.Struct, frozen=True):
    """Commit a changed row, and say why in its history."""

    intent: VolumeIntent
    reason: str


class LookUp(msgspec.Struct, frozen=True):
    """Read what the claim points at: its class, the real one behind that, a claim to clone, an image."""


class Confirm(msgspec.Struct, frozen=True):
    """Ask the API server whether an object is there: an absence in the cache proves nothing."""

    part: Part


class CreateDataVolume(msgspec.Struct, frozen=True):
    """Create the DataVolume, unless there is one of its name."""

    manifest: Json


class CreateVolume(msgspec.Struct, frozen=True):
    """Create the PersistentVolume, unless there is one of its name."""

    manifest: Json


class MarkVolume(msgspec.Struct, frozen=True):
    """Bring back the marks of the PersistentVolume that somebody removed."""

    uid: str
    marks: Json


class GrowBacking(msgspec.Struct, frozen=True):
    """Let the real claim ask for so many bytes; ``refused`` is the claim's status if its class forbids it."""

    uid: str
    size: int
    refused: Json


class GrowVolume(msgspec.Struct, frozen=True):
    """Let the PersistentVolume say that it holds so many bytes."""

    uid: str
    size: int


class PatchClaim(msgspec.Struct, frozen=True):
    """Strategic merge patch of the claim's status."""

    patch: Json


class Reschedule(msgspec.Struct, frozen=True):
    """Take the node off a claim that cannot have its disk, so that the scheduler thinks again."""

    uid: str


class DeleteDataVolume(msgspec.Struct, frozen=True):
    """Delete one incarnation of the DataVolume; the claim behind it goes with it, when no Pod uses that any more."""

    uid: str


class DeleteVolume(msgspec.Struct, frozen=True):
    """Delete one incarnation of the PersistentVolume; our finalizer keeps it until it is let go."""

    uid: str


class LetGo(msgspec.Struct, frozen=True):
    """Take our finalizer off the PersistentVolume: nothing is left that it stands for, or that is to stay.

    ``finalizers`` are the others as they were at ``version``, its resourceVersion: the list is everybody's.
    """

    uid: str
    finalizers: list[str]
    version: str


class Forget(msgspec.Struct, frozen=True):
    """Nothing is left to look after: turn the row into a tombstone."""

    reason: str


DiskStep = (
    CreateDataVolume
    | CreateVolume
    | MarkVolume
    | GrowBacking
    | GrowVolume
    | DeleteDataVolume
    | DeleteVolume
    | LetGo
    | Forget
)
"""What is done to a disk that has a row."""

Step = Accept | Record | LookUp | Confirm | PatchClaim | Reschedule | DiskStep


class VolumePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next.

    Attributes:
        step: the one next step; None when there is nothing to do but wait.
        notes: events for the claim.
        failing: what is wanted cannot be had for now: try again, ever more rarely.
        requeue_after: look again after so many seconds, events or not.
    """

    step: Step | None = None
    notes: list[PodEvent] = []
    failing: bool = False
    requeue_after: float | None = None
