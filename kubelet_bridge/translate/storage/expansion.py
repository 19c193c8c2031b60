"""A claim that asks for more: the real claim grows, then our PersistentVolume, then the claim's status, in that order.

The words of the status are those of KEP-1790 (``allocatedResourceStatuses``) and of every external resizer
(the condition ``Resizing``).
"""

from enum import StrEnum
from fractions import Fraction
from typing import Any

import msgspec

from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.storage import ClaimPhase, PersistentVolume, PersistentVolumeClaim
from kubelet_bridge.model.volumeintent import VolumeIntent

Json = dict[str, Any]
IN_PROGRESS = "ControllerResizeInProgress"
INFEASIBLE = "ControllerResizeInfeasible"
_RESIZING = "Resizing"


class Move(StrEnum):
    """What is next on the way to the size that is asked for."""

    NOTHING = "nothing"
    ANNOUNCE = "announce"
    """Say in the claim's status that it is being done."""

    GROW_BACKING = "grow backing"
    AWAIT_BACKING = "await backing"
    GROW_VOLUME = "grow volume"
    REPORT = "report"
    """Say in the claim's status that it is done."""


class Growth(msgspec.Struct, frozen=True):
    """The next move, and how many bytes it is about."""

    move: Move
    size: int = 0


def next_move(
    intent: VolumeIntent, claim: PersistentVolumeClaim, volume: PersistentVolume, backing: PersistentVolumeClaim
) -> Growth:
    """What to do for a bound ``claim``, whose disk is filled. Repeated until it says ``NOTHING``."""
    wanted, held = claim.spec.resources.storage, volume.capacity
    if claim.phase is not ClaimPhase.BOUND:
        return Growth(Move.NOTHING)
    if wanted <= held:
        told = claim.capacity >= held and not claim.status.allocated_resource_statuses
        return Growth(Move.NOTHING) if told else Growth(Move.REPORT, held.ceil())
    if claim.status.allocated_resource_statuses.get("storage") not in (IN_PROGRESS, INFEASIBLE):
        return Growth(Move.ANNOUNCE, wanted.ceil())
    needed = behind(intent, wanted)
    if backing.phase is not ClaimPhase.BOUND:  # CDI calls a disk filled a moment before its claim is, and may grow
        return Growth(Move.AWAIT_BACKING, needed)
    if backing.spec.resources.storage < Quantity.of_bytes(needed):
        return Growth(Move.GROW_BACKING, needed)
    if backing.capacity < Quantity.of_bytes(needed):
        return Growth(Move.AWAIT_BACKING, needed)
    return Growth(Move.GROW_VOLUME, wanted.ceil())


def behind(intent: VolumeIntent, wanted: Quantity) -> int:
    """Bytes that the real claim must have for a disk of ``wanted``.

    CDI asked for more than the disk's size where the disk is a file in a file system; that share stays the same.
    """
    first = Quantity.parse(intent.promise.size).ceil()
    share = max(Fraction(intent.backing_size, first), Fraction(1)) if first else Fraction(1)
    return wanted.ceil(1 / share)


def announced(claim: PersistentVolumeClaim) -> Json:
    """The strategic merge patch of the claim's ``status`` while it grows."""
    return _status(claim, {"allocatedResourceStatuses": {"storage": IN_PROGRESS}}, resizing=True)


def refused(claim: PersistentVolumeClaim) -> Json:
    """The same for a real class that does not let its claims grow."""
    return _status(claim, {"allocatedResourceStatuses": {"storage": INFEASIBLE}}, resizing=False)


def reported(claim: PersistentVolumeClaim, size: int) -> Json:
    """The same for a claim that has grown to ``size`` bytes."""
    capacity = {"capacity": {"storage": Quantity.of_bytes(size).canonical()}}
    return _status(claim, {**capacity, "allocatedResourceStatuses": None}, resizing=False)


def _status(claim: PersistentVolumeClaim, fields: Json, *, resizing: bool) -> Json:
    condition = {"type": _RESIZING, "status": "True"} if resizing else {"type": _RESIZING, "$patch": "delete"}
    stands = any(one.type == _RESIZING for one in claim.status.conditions)
    conditions = {"conditions": [condition]} if stands is not resizing else {}
    return {"metadata": {"uid": claim.metadata.uid}, "status": {**fields, **conditions}}
