"""The PersistentVolume that stands for a disk: no kubelet ever mounts it, and claims bind to it at once.

At once, and not when the disk is filled: the scheduler waits for the binding for ten minutes at most, and a real class
that waits for its first consumer gets one only after that.
"""

from typing import Any

from kubelet_bridge.model.meta import ANNOTATION_ID, LABEL_VIRTUAL_NODE
from kubelet_bridge.model.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BACKING_UID,
    ANNOTATION_PROVISIONED_BY,
    ANNOTATION_PVC_NAME,
    ATTRIBUTE_DATAVOLUME,
    ATTRIBUTE_DATAVOLUME_UID,
    FINALIZER,
    PROVISIONER,
)
from kubelet_bridge.model.volumeintent import VolumeIntent
from kubelet_bridge.translate.storage.datavolume import labels

Json = dict[str, Any]


def build(intent: VolumeIntent, node_name: str) -> Json:
    """The manifest, for a row that knows its DataVolume's uid."""
    promise = intent.promise
    return {
        "apiVersion": PERSISTENTVOLUMES.api_version,
        "kind": PERSISTENTVOLUMES.kind,
        "metadata": {
            "name": intent.volume,
            "labels": labels(intent, node_name),
            "annotations": {
                ANNOTATION_PROVISIONED_BY: PROVISIONER, ANNOTATION_ID: intent.id, ANNOTATION_PVC_NAME: intent.name,
                **_backing(intent),
            },
            "finalizers": [FINALIZER],
        },
        "spec": {
            "capacity": {"storage": promise.size},
            "accessModes": promise.access_modes,
            "volumeMode": promise.volume_mode,
            "storageClassName": promise.storage_class,
            "persistentVolumeReclaimPolicy": promise.reclaim.value,
            "claimRef": {
                "apiVersion": PERSISTENTVOLUMECLAIMS.api_version, "kind": PERSISTENTVOLUMECLAIMS.kind,
                "namespace": intent.namespace, "name": intent.name, "uid": intent.uid,
            },
            "csi": {
                "driver": PROVISIONER,
                "volumeHandle": f"{intent.namespace}/{intent.datavolume}",
                "volumeAttributes": {
                    ATTRIBUTE_DATAVOLUME: intent.datavolume, ATTRIBUTE_DATAVOLUME_UID: intent.datavolume_uid,
                },
            },
            "nodeAffinity": _virtual_nodes_only(),
        },
    }  # fmt: skip


def restored(volume: PersistentVolume, intent: VolumeIntent, node_name: str) -> Json | None:
    """The merge patch of ``metadata`` with those of our marks that are missing; None: none is.

    Somebody may have removed them; and which claim is behind the disk is known only when CDI has made it. Another
    node's label stays: then that node's bridge looks after the disk.
    """
    metadata = volume.metadata
    wanted = labels(intent, node_name)
    lost: Json = {}
    if missing := {name: value for name, value in wanted.items() if name not in metadata.labels}:
        lost["labels"] = missing
    if not _backing(intent).items() <= metadata.annotations.items():
        lost["annotations"] = _backing(intent)
    if FINALIZER not in metadata.finalizers and metadata.deletion_timestamp is None:
        lost["finalizers"] = [*metadata.finalizers, FINALIZER]
        lost["resourceVersion"] = metadata.resource_version  # the list is everybody's: as it was seen, or not at all
    return lost or None


def _backing(intent: VolumeIntent) -> dict[str, str]:
    return {ANNOTATION_BACKING_UID: intent.backing_uid} if intent.backing_uid else {}


def _virtual_nodes_only() -> Json:
    """Any virtual node can use the disk; a real one has no driver for it."""
    term = {"key": LABEL_VIRTUAL_NODE, "operator": "In", "values": ["true"]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
