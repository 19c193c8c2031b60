"""What becomes of a disk that nobody claims any more: the policy of its PersistentVolume decides, as it is now."""

from enum import StrEnum

from kubelet_bridge.model.storage import PersistentVolume, ReclaimPolicy, VolumePhase
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus


class Fate(StrEnum):
    """Of a disk whose claim is gone for certain."""

    DELETE = "delete"
    KEEP = "keep"
    LET_GO = "let go"
    """Somebody deletes the PersistentVolume of a disk to be kept: that goes, and the disk stays."""

    WAIT = "wait"
    """Kubernetes has not released the PersistentVolume yet, or somebody has freed it for another claim."""


_USED = (VolumeStatus.BOUND, VolumeStatus.LOST)


def fate(intent: VolumeIntent, volume: PersistentVolume | None) -> Fate:
    """What is to become of the disk; ``volume`` is None only when it is gone for certain."""
    if volume is None:
        retained = intent.status is VolumeStatus.RETAINED
        kept = retained or (intent.promise.reclaim is ReclaimPolicy.RETAIN and intent.status in _USED)
        return Fate.LET_GO if kept else Fate.DELETE
    deleting = volume.metadata.deletion_timestamp is not None
    if volume.spec.persistent_volume_reclaim_policy is ReclaimPolicy.RETAIN:
        return Fate.LET_GO if deleting else Fate.KEEP
    released = volume.spec.claim_ref is not None and volume.phase in (VolumePhase.RELEASED, VolumePhase.FAILED)
    return Fate.DELETE if released or deleting else Fate.WAIT
