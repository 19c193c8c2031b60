"""Claims, classes and disks, from YAML or from a few fields."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE, ANNOTATIONS_PROVISIONER, PROVISIONER
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey
from kubelet_bridge.model.volumesnapshot import ImageOffer, Origin, VolumeInputs, VolumeSnapshot

NODE = "kubelet-bridge"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
UID = "1a2b3c4d-7f4e-4a34-9a53-2d1f1f0c0002"
KEY = VolumeKey("shop", "data", UID)
ASKING = {ANNOTATIONS_PROVISIONER[0]: PROVISIONER, ANNOTATION_SELECTED_NODE: NODE}

Json = dict[str, Any]


def claim(
    *, size: str = "20Gi", annotations: dict[str, str] | None = None, status: Json | None = None,
    metadata: Json | None = None, **spec: Any,
) -> PersistentVolumeClaim:  # fmt: skip
    """A claim that asks this node for a disk, with ``spec`` over it."""
    head = {"name": "data", "namespace": "shop", "uid": UID, "annotations": ASKING | (annotations or {})}
    given = {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "vm-disk", "resources": {"requests": {"storage": size}},
        **spec,
    }  # fmt: skip
    return msgspec.convert(
        {"metadata": head | (metadata or {}), "spec": given, "status": status or {}}, PersistentVolumeClaim
    )


def storage_class(**fields: Any) -> StorageClass:
    """A class of ours; ``fields`` as in the API."""
    given = {"provisioner": PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer", **fields}
    return msgspec.convert({"metadata": {"name": "vm-disk"}, **given}, StorageClass)


class Documents:
    """The documents of a ``*.claim.yaml``: the claim first, then what it points at."""

    def __init__(self, path: Path) -> None:
        first, *self._others = list(yaml.safe_load_all(path.read_text()))
        self.claim = msgspec.convert(first, PersistentVolumeClaim)

    def inputs(self) -> VolumeInputs:
        classes = [msgspec.convert(one, StorageClass) for one in self._of("StorageClass")]
        own = next(one for one in classes if one.provisioner == PROVISIONER)
        origin, volume = self._one("PersistentVolumeClaim"), self._one("PersistentVolume")
        return VolumeInputs(
            storage_class=own,
            backing=next((one for one in classes if one is not own), None),
            origin=Origin(
                msgspec.convert(origin, PersistentVolumeClaim) if origin else None,
                msgspec.convert(volume, PersistentVolume) if volume else None,
            ),
            image=msgspec.convert(offer, ImageOffer) if (offer := self._one("ImageOffer")) else None,
        )

    def snapshot(self) -> VolumeSnapshot:
        metadata = self.claim.metadata
        key = VolumeKey(metadata.namespace, metadata.name, metadata.uid)
        return VolumeSnapshot(key=key, claim=self.claim, inputs=self.inputs())

    def _of(self, kind: str) -> list[Json]:
        return [one for one in self._others if one["kind"] == kind]

    def _one(self, kind: str) -> Json | None:
        return next(iter(self._of(kind)), None)


def datavolume(uid: str = "dv-1", *, phase: str = "", pvc_uid: str = UID, **fields: Any) -> DataVolume:
    """The DataVolume of ``claim()``; ``fields`` are of its metadata, or ``progress`` and ``conditions``."""
    status = {"phase": phase, **{name: fields.pop(name) for name in ("progress", "conditions") if name in fields}}
    head = {"name": "data-1a2b3c4d", "namespace": "shop", "uid": uid, "labels": {"kubelet-bridge.io/pvc-uid": pvc_uid}}
    return msgspec.convert({"metadata": head | fields, "status": status}, DataVolume)


def backing(
    uid: str = "real-1",
    *,
    size: str = "20Gi",
    capacity: str = "20Gi",
    owner: str = "dv-1",
    phase: str = "Bound",
    **head: Any,
) -> PersistentVolumeClaim:
    """The real claim behind it."""
    owners = [{"kind": "DataVolume", "name": "data-1a2b3c4d", "uid": owner}]
    metadata = {"name": "data-1a2b3c4d", "namespace": "shop", "uid": uid, "ownerReferences": owners, **head}
    spec = {"resources": {"requests": {"storage": size}}}
    return msgspec.convert(
        {"metadata": metadata, "spec": spec, "status": {"phase": phase, "capacity": {"storage": capacity}}},
        PersistentVolumeClaim,
    )


def volume(made: Json, *, phase: str = "Bound", metadata: Json | None = None, **spec: Any) -> PersistentVolume:
    """The PersistentVolume as it was ``made``, and what the API server and others have added."""
    head = {**made["metadata"], "uid": "pv-1", **(metadata or {})}
    return msgspec.convert(
        {"metadata": head, "spec": {**made["spec"], **spec}, "status": {"phase": phase}}, PersistentVolume
    )


def row(intent: VolumeIntent, **changes: Any) -> VolumeIntent:
    """``intent`` with ``changes``."""
    return msgspec.structs.replace(intent, **changes)
