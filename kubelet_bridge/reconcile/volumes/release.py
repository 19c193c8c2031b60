"""What to do with a disk whose claim is gone: keep it, or take it down, the disk before the PersistentVolume. Pure."""

import msgspec

from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.storagenames import FINALIZER
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Part, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.actions import (
    Confirm,
    DeleteDataVolume,
    DeleteVolume,
    Forget,
    LetGo,
    Record,
    VolumePlan,
)
from kubelet_bridge.translate.storage.datavolume import belongs
from kubelet_bridge.translate.storage.release import Fate, fate

_LOOK_AGAIN = 2.0
_KEPT = (VolumeStatus.RETAINED, VolumeStatus.LOST)


def release(snapshot: VolumeSnapshot, intent: VolumeIntent, *, unclaimed: bool = False) -> VolumePlan:
    """The next step; ``unclaimed``: the claim is there, and has another volume."""
    if not unclaimed and Part.CLAIM not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.CLAIM))
    volume = snapshot.volume
    if volume is None and Part.VOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.VOLUME))
    match fate(intent, volume):
        case Fate.KEEP:
            return _keep(intent)
        case Fate.LET_GO if volume is not None and intent.status not in _KEPT:
            return _keep(intent)  # once its volume is gone, only the row knows that the disk is to stay
        case Fate.LET_GO:
            return _let_go(volume, "Retained")
        case Fate.WAIT:
            return VolumePlan(requeue_after=_LOOK_AGAIN)
        case Fate.DELETE if volume is not None and Part.VOLUME not in snapshot.seen:
            return VolumePlan(step=Confirm(Part.VOLUME))  # somebody may have said meanwhile that it is to be kept
        case Fate.DELETE:
            return _take_down(snapshot, intent, volume)


def _keep(intent: VolumeIntent) -> VolumePlan:
    if intent.status in _KEPT:
        return VolumePlan()
    return VolumePlan(step=Record(msgspec.structs.replace(intent, status=VolumeStatus.RETAINED), "Released"))


def _take_down(snapshot: VolumeSnapshot, intent: VolumeIntent, volume: PersistentVolume | None) -> VolumePlan:
    if snapshot.users:
        message = f"the disk is still in use by {', '.join(sorted(snapshot.users))}"
        return VolumePlan(notes=[PodEvent(EventType.NORMAL, "VolumeInUse", message)], requeue_after=_LOOK_AGAIN)
    found = snapshot.datavolume
    if found is None and Part.DATAVOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.DATAVOLUME))
    if found is not None and belongs(found.metadata, intent):
        going = found.metadata.deletion_timestamp is not None
        return VolumePlan(requeue_after=_LOOK_AGAIN) if going else VolumePlan(step=DeleteDataVolume(found.metadata.uid))
    if _backing_is_left(snapshot, intent):
        return VolumePlan(requeue_after=_LOOK_AGAIN)
    if snapshot.backing is None and Part.BACKING not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.BACKING))
    if volume is not None and volume.metadata.deletion_timestamp is None:
        return VolumePlan(step=DeleteVolume(volume.metadata.uid))
    return _let_go(volume, "Deleted")


def _backing_is_left(snapshot: VolumeSnapshot, intent: VolumeIntent) -> bool:
    """Whether the garbage collector, or a launcher that still has it, has left the real claim there."""
    backing = snapshot.backing
    return backing is not None and bool(intent.backing_uid) and backing.metadata.uid == intent.backing_uid


def _let_go(volume: PersistentVolume | None, reason: str) -> VolumePlan:
    if volume is None or FINALIZER not in volume.metadata.finalizers:
        return VolumePlan(step=Forget(reason))
    left = [one for one in volume.metadata.finalizers if one != FINALIZER]
    return VolumePlan(step=LetGo(volume.metadata.uid, left, volume.metadata.resource_version))
