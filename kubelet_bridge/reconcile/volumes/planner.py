"""What to do next for one claim's disk, decided from one snapshot. Pure: the same snapshot gives the same plan.

Three rules keep data. The DataVolume's uid is committed before the PersistentVolume is made, and nobody can use the
disk before that: a DataVolume or real claim of another uid, or none at all, means that the disk is lost, and it is
never made again. Nothing is deleted before its claim's absence is confirmed. What is not ours is not touched.
"""

from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import (
    BindingMode,
    ClaimPhase,
    DataVolume,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BACKING_UID,
    ANNOTATION_SELECTED_NODE,
    ATTRIBUTE_DATAVOLUME_UID,
    datavolume_name,
)
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Part, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.actions import (
    Accept,
    Confirm,
    CreateDataVolume,
    CreateVolume,
    Forget,
    LookUp,
    MarkVolume,
    Record,
    Reschedule,
    VolumePlan,
)
from kubelet_bridge.reconcile.volumes.care import look_after, lose, loss
from kubelet_bridge.reconcile.volumes.release import release
from kubelet_bridge.translate.storage import datavolume, persistentvolume
from kubelet_bridge.translate.storage.classparameters import serves_alone
from kubelet_bridge.translate.storage.promise import promise
from kubelet_bridge.translate.storage.refusal import CannotProvision, NotYet
from kubelet_bridge.translate.storage.trigger import Answer, verdict

WAIT = VolumePlan()
PATIENCE = 6
"""Failed tries after which the scheduler is asked to choose a node anew."""

IMAGE_WAIT = 5.0
"""Seconds after which an image that is on its way is looked at again: nothing tells of it."""

GRACE_OF_OTHERS = 60.0
"""Seconds after which a claim of another provisioner that our node was selected for is told that it may wait long."""


def plan(snapshot: VolumeSnapshot, node_name: str, *, new_id: str, tries: int, now: datetime) -> VolumePlan:
    """The next step for ``snapshot.key``.

    Args:
        snapshot: everything known.
        node_name: of our Node.
        new_id: readable id for the row, should one be made.
        tries: how often in a row it has failed.
        now: the current time.
    """
    intent, claim = snapshot.intent, snapshot.claim
    if intent is None:
        return WAIT if claim is None else _consider(snapshot, claim, node_name, new_id, tries, now)
    if claim is None:
        return release(snapshot, intent)
    if intent.lost:
        return VolumePlan(notes=[loss(intent)])
    return _provide(snapshot, intent, claim, node_name, tries, now)


def _consider(
    snapshot: VolumeSnapshot, claim: PersistentVolumeClaim, node_name: str, new_id: str, tries: int, now: datetime
) -> VolumePlan:
    """A claim without a row: promise a disk if it asks for one of ours."""
    found = verdict(claim, node_name)
    if found.answer is Answer.DIRECT and (left := _may_still_be_bound(claim, now)):
        return VolumePlan(requeue_after=left)
    if found.answer is not Answer.OURS:
        return VolumePlan(notes=found.notes)
    if snapshot.inputs is None:
        return VolumePlan(step=LookUp())
    if found.anywhere and not _serves_anywhere(snapshot.inputs.storage_class, node_name):
        return WAIT
    try:
        promised = promise(claim, snapshot.inputs)
    except CannotProvision as error:
        return _cannot(claim, error, tries)
    except NotYet as wait:
        return VolumePlan(notes=[PodEvent(EventType.NORMAL, wait.reason, wait.message)], requeue_after=IMAGE_WAIT)
    key = snapshot.key
    return VolumePlan(
        step=Accept(
            VolumeIntent(
                uid=key.uid, id=new_id, namespace=key.namespace, name=key.name, promise=promised,
                datavolume=datavolume_name(key.name, key.uid), accepted_at=now,
            )
        )
    )  # fmt: skip


def _may_still_be_bound(claim: PersistentVolumeClaim, now: datetime) -> float:
    """Seconds for which another provisioner is not given up: some do not ask which node it is."""
    made = claim.metadata.creation_timestamp or now
    return max(0.0, GRACE_OF_OTHERS - (now - made).total_seconds())


def _serves_anywhere(storage_class: StorageClass | None, node_name: str) -> bool:
    """Whether a claim of this class, for which no node is selected, is this bridge's to serve."""
    if storage_class is None:
        return True  # to be told
    awaits = storage_class.volume_binding_mode == BindingMode.WAIT_FOR_FIRST_CONSUMER
    return not awaits and serves_alone(storage_class.parameters) in ("", node_name)


def _cannot(claim: PersistentVolumeClaim, error: CannotProvision, tries: int) -> VolumePlan:
    selected = ANNOTATION_SELECTED_NODE in claim.metadata.annotations
    if selected and tries >= PATIENCE:
        return VolumePlan(step=Reschedule(claim.metadata.uid))
    return VolumePlan(notes=[PodEvent(EventType.WARNING, error.reason, error.message)], failing=True)


def _provide(
    snapshot: VolumeSnapshot,
    intent: VolumeIntent,
    claim: PersistentVolumeClaim,
    node_name: str,
    tries: int,
    now: datetime,
) -> VolumePlan:
    """Bring about the DataVolume, then the PersistentVolume, then look after both."""
    found = snapshot.datavolume
    if different := _handed_out_otherwise(snapshot.volume, intent):
        return different
    if found is None:
        return _make_datavolume(snapshot, intent, claim, node_name, tries)
    if trouble := _not_the_promised(found, snapshot, intent, claim):
        return trouble
    if trouble := _unchecked(found, snapshot, intent):
        return trouble
    if not intent.datavolume_uid:
        return _record(intent, "DataVolumeMade", datavolume_uid=found.metadata.uid)
    volume = snapshot.volume
    if volume is None:
        return _make_volume(snapshot, intent, claim, node_name)
    if volume.spec.persistent_volume_reclaim_policy is not intent.promise.reclaim:
        policy = volume.spec.persistent_volume_reclaim_policy
        return _record(intent, "PolicyChanged", promise=msgspec.structs.replace(intent.promise, reclaim=policy))
    if marks := persistentvolume.restored(volume, intent, node_name):
        return VolumePlan(step=MarkVolume(volume.metadata.uid, marks))
    if claim.phase is ClaimPhase.BOUND and intent.status is not VolumeStatus.BOUND:
        return _record(intent, "Bound", status=VolumeStatus.BOUND)
    return look_after(snapshot, intent, claim, found, volume, now)


def _handed_out_otherwise(volume: PersistentVolume | None, intent: VolumeIntent) -> VolumePlan | None:
    """The PersistentVolume says which DataVolume was handed out: by another bridge, or before the row was set back."""
    csi = volume.spec.csi if volume is not None else None
    handed = csi.volume_attributes.get(ATTRIBUTE_DATAVOLUME_UID, "") if csi is not None else ""
    behind = volume.metadata.annotations.get(ANNOTATION_BACKING_UID, "") if volume is not None else ""
    if handed in ("", intent.datavolume_uid):
        unknown = bool(behind) and not intent.backing_uid
        return _record(intent, "ClaimKnown", backing_uid=behind) if unknown else None
    if not intent.datavolume_uid:
        return _record(intent, "DataVolumeKnown", datavolume_uid=handed)
    return lose(intent, f"DataVolume {intent.datavolume} was replaced by somebody else")


def _make_datavolume(
    snapshot: VolumeSnapshot, intent: VolumeIntent, claim: PersistentVolumeClaim, node_name: str, tries: int
) -> VolumePlan:
    if Part.DATAVOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.DATAVOLUME))
    if intent.datavolume_uid:
        return _without_the_promised(snapshot, intent, claim, "was deleted by somebody else")
    if claim.metadata.deletion_timestamp is not None:
        return WAIT
    if claim.spec.volume_name == intent.volume and snapshot.volume is None:
        return _without_volume(snapshot, intent)
    if claim.spec.volume_name not in ("", intent.volume):
        return VolumePlan(step=Forget("BoundElsewhere"))
    if not claim.spec.volume_name and not _still_asks(intent, claim, node_name):
        return VolumePlan(step=Forget("Rescheduled"))
    if tries >= PATIENCE and ANNOTATION_SELECTED_NODE in claim.metadata.annotations:
        return VolumePlan(step=Reschedule(claim.metadata.uid))
    return VolumePlan(step=CreateDataVolume(datavolume.build(intent, node_name)))


def _without_volume(snapshot: VolumeSnapshot, intent: VolumeIntent) -> VolumePlan:
    """The claim was bound to a disk of which the row knows nothing: whatever were made now would be another one."""
    if Part.VOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.VOLUME))
    message = f"PersistentVolume {intent.volume}, which this claim is bound to, was deleted by somebody else"
    return VolumePlan(notes=[PodEvent(EventType.WARNING, "VolumeLost", message)])


def _still_asks(intent: VolumeIntent, claim: PersistentVolumeClaim, node_name: str) -> bool:
    found = verdict(claim, node_name)
    return found.answer is Answer.OURS and not (found.anywhere and intent.promise.awaits_consumer)


def _not_the_promised(
    found: DataVolume, snapshot: VolumeSnapshot, intent: VolumeIntent, claim: PersistentVolumeClaim
) -> VolumePlan | None:
    if intent.datavolume_uid and found.metadata.uid != intent.datavolume_uid:
        return _without_the_promised(snapshot, intent, claim, "was replaced by somebody else")
    if not datavolume.belongs(found.metadata, intent):
        message = f"a DataVolume {intent.datavolume} that is not this claim's exists in the namespace"
        return VolumePlan(notes=[PodEvent(EventType.WARNING, "ProvisioningFailed", message)], failing=True)
    if found.metadata.deletion_timestamp is not None:
        message = f"DataVolume {intent.datavolume} is being deleted by somebody else"
        return VolumePlan(notes=[PodEvent(EventType.WARNING, "VolumeEndangered", message)], requeue_after=2.0)
    return None


def _unchecked(found: DataVolume, snapshot: VolumeSnapshot, intent: VolumeIntent) -> VolumePlan | None:
    """The API server leaves out what its CRD has no field for: whatever was downloaded would count as checked."""
    wanted = intent.promise.population.get("source", {}).get("http", {}).get("checksum", "")
    if snapshot.volume is not None or found.checksum == wanted:
        return None
    message = f"the checksum of {intent.promise.source} is not looked at: the CDI of this cluster has no field for it"
    return VolumePlan(notes=[PodEvent(EventType.WARNING, "ProvisioningFailed", message)], failing=True)


def _without_the_promised(
    snapshot: VolumeSnapshot, intent: VolumeIntent, claim: PersistentVolumeClaim, what: str
) -> VolumePlan:
    """The DataVolume is gone. Another may be made only if nobody can have used the disk: it had no PersistentVolume."""
    if snapshot.volume is None and Part.VOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.VOLUME))
    if snapshot.volume is not None or claim.spec.volume_name:
        return lose(intent, f"DataVolume {intent.datavolume} {what}")
    return _record(intent, "DataVolumeVanished", datavolume_uid="", backing_uid="", backing_size=0)


def _make_volume(
    snapshot: VolumeSnapshot, intent: VolumeIntent, claim: PersistentVolumeClaim, node_name: str
) -> VolumePlan:
    if Part.VOLUME not in snapshot.absent:
        return VolumePlan(step=Confirm(Part.VOLUME))
    if claim.spec.volume_name not in ("", intent.volume):  # an administrator was faster
        return release(snapshot, intent, unclaimed=True)
    if claim.metadata.deletion_timestamp is not None and not claim.spec.volume_name:
        return WAIT
    return VolumePlan(step=CreateVolume(persistentvolume.build(intent, node_name)))


def _record(intent: VolumeIntent, reason: str, **changes: Any) -> VolumePlan:
    return VolumePlan(step=Record(msgspec.structs.replace(intent, **changes), reason))
