"""The fields of storage objects that we read: claims, volumes, classes and CDI's DataVolumes.

What we write is built as plain JSON in ``translate.storage``. Sources of names: ``staging/src/k8s.io/api/core/v1`` and
``storage/v1`` in Kubernetes, ``staging/src/kubevirt.io/containerized-data-importer-api/pkg/apis/core/v1beta1`` in CDI.
"""

from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.meta import Condition, ObjectMeta
from kubelet_bridge.model.quantity import Quantity


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Base: camelCase, unknown fields skipped."""


class AccessMode(StrEnum):
    """``spec.accessModes`` of claims and volumes."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_ONLY_MANY = "ReadOnlyMany"
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"


class VolumeMode(StrEnum):
    """``spec.volumeMode``: what a Pod sees of a volume."""

    FILESYSTEM = "Filesystem"
    BLOCK = "Block"


class ReclaimPolicy(StrEnum):
    """What becomes of a volume whose claim is gone."""

    DELETE = "Delete"
    RETAIN = "Retain"

    @classmethod
    def _missing_(cls, _value: object) -> "ReclaimPolicy":
        """``Recycle``, which is none of ours, or a word of tomorrow: nothing is deleted on it."""
        return cls.RETAIN


class BindingMode(StrEnum):
    """``volumeBindingMode`` of a StorageClass."""

    IMMEDIATE = "Immediate"
    WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"


class VolumePhase(StrEnum):
    """``PersistentVolume.status.phase``."""

    UNSET = ""
    PENDING = "Pending"
    AVAILABLE = "Available"
    BOUND = "Bound"
    RELEASED = "Released"
    FAILED = "Failed"
    UNKNOWN = "Unknown"

    @classmethod
    def _missing_(cls, _value: object) -> "VolumePhase":
        return cls.UNKNOWN


class ClaimPhase(StrEnum):
    """``PersistentVolumeClaim.status.phase``."""

    UNSET = ""
    PENDING = "Pending"
    BOUND = "Bound"
    LOST = "Lost"
    UNKNOWN = "Unknown"

    @classmethod
    def _missing_(cls, _value: object) -> "ClaimPhase":
        return cls.UNKNOWN


class ResourceList(_Read, frozen=True):
    """``spec.resources`` of a claim."""

    requests: dict[str, str | int | float] = {}

    @property
    def storage(self) -> Quantity:
        """What is asked for; zero when nothing is."""
        return Quantity.parse(self.requests.get("storage", 0))


class DataSource(_Read, frozen=True):
    """``dataSource`` or ``dataSourceRef`` of a claim."""

    kind: str = ""
    name: str = ""
    api_group: str | None = None
    namespace: str = ""


class ClaimSpec(_Read, frozen=True):
    """``PersistentVolumeClaim.spec``; a class that is None means the cluster's default, an empty one: no class."""

    access_modes: list[str] = []
    resources: ResourceList = ResourceList()
    storage_class_name: str | None = None
    volume_mode: str = VolumeMode.FILESYSTEM.value
    volume_name: str = ""
    data_source: DataSource | None = None
    data_source_ref: DataSource | None = None
    selector: dict[str, Any] | None = None
    volume_attributes_class_name: str | None = None


class ClaimStatus(_Read, frozen=True):
    """``PersistentVolumeClaim.status``."""

    phase: str = ""
    capacity: dict[str, str | int | float] = {}
    conditions: list[Condition] = []
    allocated_resource_statuses: dict[str, str] = {}


class PersistentVolumeClaim(_Read, frozen=True):
    """A PersistentVolumeClaim: one of ours, the one behind it on the backing class, or a stranger."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def phase(self) -> ClaimPhase:
        """``status.phase`` as an enum; an unknown word is ``Unknown``."""
        return ClaimPhase(self.status.phase)

    @property
    def capacity(self) -> Quantity:
        """What it has; zero before it is bound."""
        return Quantity.parse(self.status.capacity.get("storage", 0))


class CsiSource(_Read, frozen=True):
    """``PersistentVolume.spec.csi``."""

    driver: str = ""
    volume_handle: str = ""
    volume_attributes: dict[str, str] = {}


class ClaimReference(_Read, frozen=True):
    """``PersistentVolume.spec.claimRef``; without a uid it is a promise to whoever comes by that name."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class VolumeSpec(_Read, frozen=True):
    """``PersistentVolume.spec``; ``node_affinity`` stays a dictionary: only people read what is in it."""

    capacity: dict[str, str | int | float] = {}
    access_modes: list[str] = []
    volume_mode: str = VolumeMode.FILESYSTEM.value
    storage_class_name: str = ""
    persistent_volume_reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    claim_ref: ClaimReference | None = None
    csi: CsiSource | None = None
    node_affinity: dict[str, Any] | None = None


class VolumeStatus(_Read, frozen=True):
    """``PersistentVolume.status``."""

    phase: str = ""


class PersistentVolume(_Read, frozen=True):
    """A PersistentVolume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()

    @property
    def phase(self) -> VolumePhase:
        """``status.phase`` as an enum; an unknown word is ``Unknown``."""
        return VolumePhase(self.status.phase)

    @property
    def capacity(self) -> Quantity:
        """What it says it holds."""
        return Quantity.parse(self.spec.capacity.get("storage", 0))


class StorageClass(_Read, frozen=True):
    """A StorageClass."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: dict[str, str] = {}
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.DELETE
    volume_binding_mode: str = BindingMode.IMMEDIATE.value
    allow_volume_expansion: bool = False


class DataVolumePhase(StrEnum):
    """``DataVolume.status.phase``: the ones that something depends on; the others are only words to pass on."""

    UNSET = ""
    PENDING = "Pending"
    WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
    PENDING_POPULATION = "PendingPopulation"
    UPLOAD_READY = "UploadReady"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    OTHER = "Other"

    @classmethod
    def _missing_(cls, _value: object) -> "DataVolumePhase":
        return cls.OTHER


class DataVolumeStatus(_Read, frozen=True):
    """``DataVolume.status``; ``progress`` is ``42.50%`` or ``N/A``."""

    claim_name: str = ""
    phase: str = ""
    progress: str = ""
    restart_count: int = 0
    conditions: list[Condition] = []


class HttpImport(_Read, frozen=True):
    """``source.http`` of a DataVolume."""

    checksum: str = ""


class DataVolumeSource(_Read, frozen=True):
    """``spec.source`` of a DataVolume."""

    http: HttpImport | None = None


class DataVolumeSpec(_Read, frozen=True):
    """``DataVolume.spec``: what an API server may have left out of it because its CRD has no such field."""

    source: DataVolumeSource | None = None


class DataVolume(_Read, frozen=True):
    """A DataVolume: the claim it makes has its name and namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataVolumeSpec = DataVolumeSpec()
    status: DataVolumeStatus = DataVolumeStatus()

    @property
    def phase(self) -> DataVolumePhase:
        """``status.phase`` as an enum; a word that nothing depends on is ``Other``."""
        return DataVolumePhase(self.status.phase)

    @property
    def checksum(self) -> str:
        """Of the download, if CDI is to look at one."""
        http = self.spec.source.http if self.spec.source is not None else None
        return http.checksum if http is not None else ""

    @property
    def populated(self) -> bool:
        """Whether what was asked for is on the disk."""
        return self.phase is DataVolumePhase.SUCCEEDED
