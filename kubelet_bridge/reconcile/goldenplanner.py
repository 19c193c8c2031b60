"""Where the disk of a VM with an image of the catalogue comes from: what is there, or one import for all. Pure.

Nothing is remembered and nothing is counted: an import has a name that follows from its source (``golden.name``).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.catalogue import (
    ClaimSource,
    DataSourceSource,
    HttpSource,
    Image,
    RegistrySource,
)
from kubelet_bridge.model.goldenimage import Disk, Origin, OriginKind
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.config import ImageDisks


class Use(msgspec.Struct, frozen=True):
    """Make the clone of this."""

    origin: Origin


class Import(msgspec.Struct, frozen=True):
    """Create this DataVolume by POST, and look again; that there is one already is as good."""

    manifest: dict[str, Any]


class Wait(msgspec.Struct, frozen=True):
    """There is nothing to clone yet; ``words`` say how far it is."""

    words: str


Step = Use | Import | Wait


class NoGoldenImage(Terminal):
    """Somebody has to do something before the image can be booted; the message says what."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="GoldenImageUnavailable")


def plan(image: Image, wanted: int, disk: Disk | None, ready: Sequence[Origin], disks: ImageDisks) -> Step:
    """The next step towards a clone of ``image``.

    Args:
        image: the entry.
        wanted: bytes that the Pod asks for, 0 when it does not: an origin that is larger is passed over.
        disk: the DataVolume that has the name of our golden image of it, if there is one.
        ready: what the cluster has ready made of it, the best first.
        disks: the node's settings.

    Raises:
        NoGoldenImage: its source is missing, or taken by a stranger.
    """
    for origin in ready:
        if not wanted or origin.size <= wanted:
            return Use(origin)
    match image.source:
        case ClaimSource(namespace=namespace, name=name):
            return Use(Origin(OriginKind.CLAIM, namespace, name))
        case DataSourceSource(namespace=namespace, name=name):
            return Use(Origin(OriginKind.DATA_SOURCE, namespace, name))
        case HttpSource() | RegistrySource() as source:
            return _imported(image, source, disk, disks)
        case None if ready:  # all are too large: whoever asks for the clone is told how large
            return Use(min(ready, key=lambda one: one.size))
        case None:
            raise NoGoldenImage(
                f"{image.name} comes without a disk: name one of yours as its source in the image catalogue"
            )


def _imported(image: Image, source: HttpSource | RegistrySource, disk: Disk | None, disks: ImageDisks) -> Step:
    if disk is None:
        return Import(golden.build(image, source, disks))
    if not golden.is_ours(disk, source):
        raise NoGoldenImage(
            f"DataVolume {disk.namespace}/{disk.name} is in the way: it is not the golden image of {image.name}"
        )
    if isinstance(source, HttpSource) and source.checksum != disk.checksum:
        # The API server prunes what a CRD has no field for: whatever was downloaded would count as checked.
        raise NoGoldenImage(
            f"the checksum of {image.name} is not looked at: the CDI of this cluster has no field for it; "
            f"delete DataVolume {disk.namespace}/{disk.name}, and name a source without one, or update CDI"
        )
    if disk.deleting:
        return Wait(f"golden image {disk.name} is being deleted, and will be imported again")
    if not disk.ready:
        return Wait(disk.words or f"DataVolume {disk.name} is not ready")
    return Use(Origin(OriginKind.CLAIM, disk.namespace, disk.name, disk.size))
