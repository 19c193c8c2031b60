"""Golden images as the cluster shows them: disks that hold an image of the catalogue, for VMs to get clones of."""

from enum import StrEnum

import msgspec


class OriginKind(StrEnum):
    """What a clone can be made of; the values are CDI's."""

    CLAIM = "PersistentVolumeClaim"
    DATA_SOURCE = "DataSource"


class Origin(msgspec.Struct, frozen=True):
    """What a clone is made of.

    ``size`` are the bytes of the smallest DataVolume that CDI makes a clone of it (``spec.storage``, so without what a
    file system takes for itself); 0 where they are not known.
    """

    kind: OriginKind
    namespace: str
    name: str
    size: int = 0


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A DataVolume, or a claim without one, as far as golden images go.

    Attributes:
        namespace: where it is.
        name: its name, and that of its claim.
        labels: of the object.
        annotations: of the object.
        ready: whether everything is on it.
        deleting: whether it is about to go.
        size: bytes that an image on it may have; 0 where the object does not say: its claim does.
        checksum: what CDI holds the download against; empty: nothing.
        words: how far it is and what is wrong, for people.
    """

    namespace: str
    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    ready: bool = False
    deleting: bool = False
    size: int = 0
    checksum: str = ""
    words: str = ""


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """A DataSource of CDI's: ``ready`` is its condition."""

    namespace: str
    name: str
    ready: bool = False


class Shelf(msgspec.Struct, frozen=True):
    """What the cluster has ready made, in the namespaces that are trusted for it."""

    disks: tuple[Disk, ...] = ()
    data_sources: tuple[DataSource, ...] = ()


class RootDisk(msgspec.Struct, frozen=True):
    """How the disk stands that a VM is to boot from: made, filled or not, or what is waited for before it can be."""

    made: bool
    words: str = ""
