"""The DataVolume behind a claim: CDI makes a real claim of the same name from it, and fills that."""

from typing import Any

from kubelet_bridge.model.meta import (
    ANNOTATION_ID,
    LABEL_MANAGED_BY,
    LABEL_NODE,
    MANAGED_BY,
    ObjectMeta,
    label_value,
)
from kubelet_bridge.model.resources import DATAVOLUMES
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BIND_NOW,
    ANNOTATION_KEEP_WHEN_DONE,
    ANNOTATION_PVC_NAME,
    LABEL_PVC_UID,
)
from kubelet_bridge.model.volumeintent import Promise, VolumeIntent

Json = dict[str, Any]


def labels(intent: VolumeIntent, node_name: str) -> dict[str, str]:
    """Of the DataVolume and of the PersistentVolume: by these they are found again."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_NODE: label_value(node_name), LABEL_PVC_UID: intent.uid}


def belongs(metadata: ObjectMeta, intent: VolumeIntent) -> bool:
    """Whether an object was made for that disk: by its uid, or, before that is known, by its label.

    One of another uid may have our labels: somebody may have brought it back from a backup.
    """
    if intent.datavolume_uid:
        return metadata.uid == intent.datavolume_uid
    return metadata.labels.get(LABEL_PVC_UID) == intent.uid


def build(intent: VolumeIntent, node_name: str) -> Json:
    """The manifest. It names no owner: a disk may outlive its claim."""
    promise = intent.promise
    notes = {ANNOTATION_ID: intent.id, ANNOTATION_PVC_NAME: intent.name, ANNOTATION_KEEP_WHEN_DONE: "false"}
    if promise.bind_now:
        notes[ANNOTATION_BIND_NOW] = "true"
    return {
        "apiVersion": DATAVOLUMES.api_version,
        "kind": DATAVOLUMES.kind,
        "metadata": {
            "name": intent.datavolume,
            "namespace": intent.namespace,
            "labels": labels(intent, node_name),
            "annotations": notes,
        },
        "spec": {
            **promise.population,
            "storage": _storage(promise),
            **({"preallocation": True} if promise.preallocation else {}),
        },
    }


def _storage(promise: Promise) -> Json:
    """``storage`` and not ``pvc``: CDI fills in what the StorageProfile knows, and the overhead of a file system."""
    return {
        "resources": {"requests": {"storage": promise.size}},
        **({"storageClassName": promise.backing_class} if promise.backing_class else {}),
        **({"accessModes": [promise.backing_access_mode]} if promise.backing_access_mode else {}),
        **({"volumeMode": promise.backing_volume_mode} if promise.backing_volume_mode else {}),
    }
