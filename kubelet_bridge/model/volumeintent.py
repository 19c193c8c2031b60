"""The volume intent: the disk that this node has promised to one claim. It outlives the process, and the claim."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.storage import ReclaimPolicy
from kubelet_bridge.model.storagenames import volume_name


class VolumeKey(msgspec.Struct, frozen=True, order=True):
    """One incarnation of a claim: two of the same name have different disks."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class VolumeStatus(StrEnum):
    """Where the promise of a disk stands."""

    PROVISIONING = "provisioning"
    BOUND = "bound"
    RETAINED = "retained"
    """Its claim is gone, and its class wants the disk kept."""

    LOST = "lost"
    """What was on it was deleted by somebody else; it is not made again, for it would be empty."""

    DESTROYED = "destroyed"


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What the disk is to be: all that its manifests are made of, whatever becomes of the class meanwhile.

    Attributes:
        size: of the disk, as a quantity.
        access_modes: of the claim.
        volume_mode: of the claim: what the guest sees.
        storage_class: the claim's.
        reclaim: what is to become of the disk after its claim.
        backing_class: the real class behind it; empty: the cluster's default for VMs.
        backing_access_mode: of the real claim; empty: as CDI's StorageProfile has it.
        backing_volume_mode: of the real claim; empty: likewise.
        preallocation: whether CDI is to write the whole disk at once.
        awaits_consumer: the claim gets its disk only while the scheduler has selected a node for it.
        bind_now: the real claim is not to wait for a first consumer.
        source: what it begins with, in words.
        population: ``source`` or ``sourceRef`` of the DataVolume's spec, by that name.
    """

    size: str
    access_modes: list[str]
    volume_mode: str
    storage_class: str
    reclaim: ReclaimPolicy
    backing_class: str = ""
    backing_access_mode: str = ""
    backing_volume_mode: str = ""
    preallocation: bool = False
    awaits_consumer: bool = False
    bind_now: bool = False
    source: str = ""
    population: dict[str, Any] = {}


class VolumeIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One row, keyed by the uid of the claim that the disk was made for.

    Attributes:
        id: readable, ``vol_`` + 8 characters.
        namespace: of the claim, the DataVolume and the claim behind it.
        name: the claim's.
        datavolume: name of the DataVolume and of the claim behind it.
        datavolume_uid: once it was seen, which is before anybody can use the disk; another one has other content.
        backing_uid: of the claim behind it, once it was seen; another one has other content, whoever made it.
        backing_size: bytes that the claim behind asked for when it was first seen; CDI adds to what a disk needs.
        populated: whether CDI has said that the disk holds what it was to begin with.
        lost: what became of the disk, for people; empty as long as it is there.
    """

    uid: str
    id: str
    namespace: str
    name: str
    status: VolumeStatus = VolumeStatus.PROVISIONING
    promise: Promise
    datavolume: str
    datavolume_uid: str = ""
    backing_uid: str = ""
    backing_size: int = 0
    populated: bool = False
    lost: str = ""
    accepted_at: datetime

    @property
    def destroyed(self) -> bool:
        """Whether it is a tombstone."""
        return self.status is VolumeStatus.DESTROYED

    @property
    def key(self) -> VolumeKey:
        """Of the claim that the disk was made for."""
        return VolumeKey(self.namespace, self.name, self.uid)

    @property
    def volume(self) -> str:
        """Name of the PersistentVolume."""
        return volume_name(self.uid)
