"""What to do for a disk that has been handed out: follow how it fills, let it grow, notice that it was lost. Pure."""

from datetime import datetime

import msgspec

from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import (
    ClaimPhase,
    DataVolume,
    DataVolumePhase,
    PersistentVolume,
    PersistentVolumeClaim,
)
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Part, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.actions import (
    Confirm,
    GrowBacking,
    GrowVolume,
    PatchClaim,
    Record,
    VolumePlan,
)
from kubelet_bridge.translate.storage import expansion, progress
from kubelet_bridge.translate.storage.expansion import Move
from kubelet_bridge.translate.storage.loss import replaced

_GROWTH_WAIT = 10.0
_PATIENCE_WITH_CDI = 10.0
"""Seconds after which a DataVolume that has no phase is said to be left alone: nothing else will tell."""


def look_after(
    snapshot: VolumeSnapshot,
    intent: VolumeIntent,
    claim: PersistentVolumeClaim,
    datavolume: DataVolume,
    volume: PersistentVolume,
    now: datetime,
) -> VolumePlan:
    """The next step for a disk whose DataVolume and PersistentVolume are there."""
    backing = snapshot.backing
    if backing is None:
        return _without_backing(snapshot, intent, datavolume, now)
    if intent.backing_uid not in ("", backing.metadata.uid):
        return lose(intent, replaced(intent))
    if not (intent.backing_uid and intent.backing_size):
        return _meet(intent, backing, datavolume)
    if datavolume.populated and not intent.populated:
        return VolumePlan(step=Record(msgspec.structs.replace(intent, populated=True), "Populated"))
    if backing.metadata.deletion_timestamp is not None:
        message = f"claim {intent.datavolume} behind this one is being deleted by somebody else"
        return VolumePlan(notes=[PodEvent(EventType.WARNING, "VolumeEndangered", message)])
    if backing.phase is ClaimPhase.LOST:  # an administrator may bring its volume back
        message = f"claim {intent.datavolume} behind this one has lost its volume, which was deleted by somebody else"
        return VolumePlan(notes=[PodEvent(EventType.WARNING, "VolumeEndangered", message)])
    if not intent.populated:
        return VolumePlan(notes=progress.notes(datavolume, snapshot.refusal))
    return _grow(intent, claim, volume, backing)


def lose(intent: VolumeIntent, what: str) -> VolumePlan:
    """Write down that the disk is lost: for ever, whatever somebody makes in its place."""
    return VolumePlan(step=Record(msgspec.structs.replace(intent, status=VolumeStatus.LOST, lost=what), "Lost"))


def loss(intent: VolumeIntent) -> PodEvent:
    """The event that tells of it."""
    message = f"{intent.lost}: what was on the disk is gone, and it is not made again empty; delete this claim"
    return PodEvent(EventType.WARNING, "VolumeLost", message)


def _without_backing(
    snapshot: VolumeSnapshot, intent: VolumeIntent, datavolume: DataVolume, now: datetime
) -> VolumePlan:
    if not intent.backing_uid:  # CDI has not made it yet
        return _not_begun(datavolume, now)
    if Part.BACKING not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.BACKING))
    return lose(intent, f"claim {intent.datavolume} behind it was deleted by somebody else")


def _not_begun(datavolume: DataVolume, now: datetime) -> VolumePlan:
    notes = progress.notes(datavolume)
    if notes or datavolume.phase is not DataVolumePhase.UNSET:
        return VolumePlan(notes=notes)
    waited = (now - (datavolume.metadata.creation_timestamp or now)).total_seconds()
    if waited < _PATIENCE_WITH_CDI:
        return VolumePlan(requeue_after=_PATIENCE_WITH_CDI - waited)
    return VolumePlan(notes=[PodEvent(EventType.WARNING, "DataVolumeTrouble", progress.words(datavolume))])


def _meet(intent: VolumeIntent, backing: PersistentVolumeClaim, datavolume: DataVolume) -> VolumePlan:
    """The real claim is there for the first time, or since the database was lost: from now on it is this or none."""
    if all(owner.uid != datavolume.metadata.uid for owner in backing.metadata.owner_references):
        return VolumePlan(notes=progress.notes(datavolume))  # CDI complains of it
    met = msgspec.structs.replace(
        intent, backing_uid=backing.metadata.uid, backing_size=backing.spec.resources.storage.ceil()
    )
    return VolumePlan(step=Record(met, "ClaimMade"))


def _grow(
    intent: VolumeIntent,
    claim: PersistentVolumeClaim,
    volume: PersistentVolume,
    backing: PersistentVolumeClaim,
) -> VolumePlan:
    growth = expansion.next_move(intent, claim, volume, backing)
    match growth.move:
        case Move.NOTHING:
            return VolumePlan()
        case Move.ANNOUNCE:
            return VolumePlan(step=PatchClaim(expansion.announced(claim)))
        case Move.GROW_BACKING:
            return VolumePlan(step=GrowBacking(backing.metadata.uid, growth.size, expansion.refused(claim)))
        case Move.AWAIT_BACKING:
            message = f"waiting for claim {intent.datavolume} behind this one to grow"
            return VolumePlan(notes=[PodEvent(EventType.NORMAL, "Resizing", message)], requeue_after=_GROWTH_WAIT)
        case Move.GROW_VOLUME:
            return VolumePlan(step=GrowVolume(volume.metadata.uid, growth.size))
        case Move.REPORT:
            return VolumePlan(step=PatchClaim(expansion.reported(claim, growth.size)))
