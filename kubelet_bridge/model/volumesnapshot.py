"""Everything that is known about one claim's disk at one moment: what the planner of disks decides from."""

from enum import StrEnum
from typing import Any, Self

import msgspec

from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey


class Part(StrEnum):
    """The objects whose absence is acted on, and therefore confirmed by a GET first."""

    CLAIM = "claim"
    DATAVOLUME = "datavolume"
    BACKING = "backing"
    VOLUME = "volume"


class ImageOffer(msgspec.Struct, frozen=True):
    """What the image catalogue says to a name.

    Attributes:
        population: ``source`` or ``sourceRef`` of a DataVolume, by that name; empty: it cannot be had now.
        minimum: the smallest disk that holds it, as a quantity; empty: nobody knows.
        trouble: why it cannot be had, for users.
        waiting: what has to happen first, without anybody doing anything, for users.
    """

    population: dict[str, Any] = {}
    minimum: str = ""
    trouble: str = ""
    waiting: str = ""


class Origin(msgspec.Struct, frozen=True):
    """The claim to be cloned, the volume it is bound to, and the claim behind one of ours; None: there is none."""

    claim: PersistentVolumeClaim | None = None
    volume: PersistentVolume | None = None
    real: PersistentVolumeClaim | None = None


class VolumeInputs(msgspec.Struct, frozen=True):
    """What a claim points at, looked up once, when its disk is promised.

    Attributes:
        storage_class: the claim's; None: it is not there.
        backing: the real class that the claim's class names; None: it names none, or it is not there.
        origin: what is cloned; None when nothing is.
        image: the catalogue's answer; None when no image is asked for.
    """

    storage_class: StorageClass | None = None
    backing: StorageClass | None = None
    origin: Origin | None = None
    image: ImageOffer | None = None


class VolumeSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One disk's world.

    Attributes:
        claim: the one the disk serves: that of the key, or the one that its PersistentVolume has been given to since.
        datavolume: whatever has the name of the disk's DataVolume, be it ours or not.
        backing: the claim of that name.
        volume: the disk's PersistentVolume.
        absent: what a GET in this very sync has not found; without it an absence is only a hint.
        seen: what a GET in this very sync has found; what the cache shows may be of long ago.
        refusal: why the storage has no volume for it, in its own words; empty when it does not say.
        users: VirtualMachines that have the disk.
        inputs: None when they were not looked up.
    """

    key: VolumeKey
    intent: VolumeIntent | None = None
    claim: PersistentVolumeClaim | None = None
    datavolume: DataVolume | None = None
    backing: PersistentVolumeClaim | None = None
    volume: PersistentVolume | None = None
    absent: frozenset[Part] = frozenset()
    seen: frozenset[Part] = frozenset()
    refusal: str = ""
    users: list[str] = []
    inputs: VolumeInputs | None = None

    @property
    def subject(self) -> VolumeKey:
        """The claim that is told of the disk: the one it serves, else the one it was made for."""
        if self.claim is None:
            return self.key
        metadata = self.claim.metadata
        return VolumeKey(metadata.namespace, metadata.name, metadata.uid)

    def confirmed(self, part: Part, found: PersistentVolumeClaim | PersistentVolume | DataVolume | None) -> Self:
        """The snapshot after a GET of ``part``. A volume that was given to another claim says nothing of that one."""
        if found is None:
            return msgspec.structs.replace(self, absent=self.absent | {part})
        absent, claim = self.absent, self.claim
        if isinstance(found, PersistentVolume) and found.spec.claim_ref != (self.volume and self.volume.spec.claim_ref):
            absent, claim = absent - {Part.CLAIM}, None
        known = msgspec.structs.replace(self, absent=absent - {part}, claim=claim, seen=self.seen | {part})
        return msgspec.structs.replace(known, **{part.value: found})
