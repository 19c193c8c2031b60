"""The fields of claims, volumes and classes that provisioning reads (core/v1 and storage.k8s.io/v1)."""

from datetime import datetime
from typing import Any

import msgspec


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    pass


class OwnerReference(_Camel, frozen=True):
    """An object that this one goes with."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Metadata(_Camel, frozen=True):
    """``metadata``."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    deletion_timestamp: datetime | None = None


class Requests(_Camel, frozen=True):
    """``resources`` of a claim."""

    requests: dict[str, str] = {}


class ClaimSpec(_Camel, frozen=True):
    """``spec`` of a claim."""

    storage_class_name: str = ""
    volume_name: str = ""
    volume_mode: str = "Filesystem"
    access_modes: list[str] = []
    resources: Requests = Requests()
    data_source: dict[str, Any] | None = None
    data_source_ref: dict[str, Any] | None = None


class ClaimStatus(_Camel, frozen=True):
    """``status`` of a claim."""

    phase: str = ""
    capacity: dict[str, str] = {}


class Claim(_Camel, frozen=True):
    """A PersistentVolumeClaim."""

    metadata: Metadata
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def size(self) -> str:
        """What it asks for, as a quantity; empty when it says nothing."""
        return self.spec.resources.requests.get("storage", "")


class ClaimRef(_Camel, frozen=True):
    """The claim that a volume belongs to."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class Csi(_Camel, frozen=True):
    """Whose volume it is, and by which name."""

    driver: str = ""
    volume_handle: str = ""


class VolumeSpec(_Camel, frozen=True):
    """``spec`` of a volume."""

    capacity: dict[str, str] = {}
    volume_mode: str = "Filesystem"
    persistent_volume_reclaim_policy: str = "Retain"
    claim_ref: ClaimRef | None = None
    csi: Csi | None = None
    node_affinity: dict[str, Any] | None = None


class VolumeStatus(_Camel, frozen=True):
    """``status`` of a volume."""

    phase: str = ""


class Volume(_Camel, frozen=True):
    """A PersistentVolume."""

    metadata: Metadata
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class StorageClass(_Camel, frozen=True):
    """A StorageClass."""

    metadata: Metadata
    provisioner: str = ""
    reclaim_policy: str = "Delete"
    volume_binding_mode: str = "Immediate"
