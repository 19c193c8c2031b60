"""Volume intents made again from the cluster when the database is lost. Pure. Only history is gone.

Every PersistentVolume of ours says which claim its disk was made for, and which DataVolume it is. A DataVolume without
one is not taken up: its claim, if that is still there, asks again and finds it; if not, the disk may be one that was
let go on purpose, and deleting that would be the worse mistake.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from kubelet_bridge.model.meta import ANNOTATION_ID, LABEL_NODE, ObjectMeta, label_value
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BACKING_UID,
    ANNOTATION_PVC_NAME,
    ATTRIBUTE_DATAVOLUME_UID,
    LABEL_PVC_UID,
    PROVISIONER,
)
from kubelet_bridge.model.volumeintent import Promise, VolumeIntent, VolumeStatus

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def rebuild_volumes(
    volumes: Iterable[PersistentVolume], node_name: str, *, new_id: Callable[[], str]
) -> list[VolumeIntent]:
    """One row per disk that this node has handed out; ``new_id`` gives an id where no annotation remembers one."""
    ours = label_value(node_name)
    found: dict[str, VolumeIntent] = {}
    for volume in volumes:
        uid = volume.metadata.labels.get(LABEL_PVC_UID, "")
        if uid and volume.metadata.labels.get(LABEL_NODE) == ours and (row := _of_volume(uid, volume, new_id)):
            found[uid] = row
    return list(found.values())


def _of_volume(uid: str, volume: PersistentVolume, new_id: Callable[[], str]) -> VolumeIntent | None:
    metadata, spec = volume.metadata, volume.spec
    if spec.csi is None or spec.csi.driver != PROVISIONER:
        return None
    namespace, _, datavolume = spec.csi.volume_handle.partition("/")
    if not (namespace and datavolume):  # somebody made it by hand
        return None
    return VolumeIntent(
        uid=uid, id=_id(metadata, new_id), namespace=namespace, name=_claim_name(metadata, datavolume),
        status=VolumeStatus.BOUND, datavolume=datavolume,
        datavolume_uid=spec.csi.volume_attributes.get(ATTRIBUTE_DATAVOLUME_UID, ""),
        backing_uid=metadata.annotations.get(ANNOTATION_BACKING_UID, ""),
        accepted_at=metadata.creation_timestamp or _NEVER,
        promise=Promise(
            size=volume.capacity.canonical(), access_modes=spec.access_modes, volume_mode=spec.volume_mode,
            storage_class=spec.storage_class_name, reclaim=spec.persistent_volume_reclaim_policy,
        ),
    )  # fmt: skip


def _id(metadata: ObjectMeta, new_id: Callable[[], str]) -> str:
    return metadata.annotations.get(ANNOTATION_ID) or new_id()


def _claim_name(metadata: ObjectMeta, otherwise: str) -> str:
    """An annotation that is gone leaves a name by which no claim is found: the uid decides whose the disk is."""
    return metadata.annotations.get(ANNOTATION_PVC_NAME) or otherwise
