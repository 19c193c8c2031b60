"""Golden images that a cluster has already: DataSources, as DataImportCrons keep them, and Cozystack's DataVolumes."""

from collections.abc import Iterator

from kubelet_bridge.model.catalogue import Catalogue, Image
from kubelet_bridge.model.goldenimage import Disk, Origin, OriginKind, Shelf
from kubelet_bridge.translate.catalogue.lookup import exact

_COZYSTACK = "vm-default-images"
"""Prefix of its names, and of its annotations with ``.cozystack.io/`` (packages/system/vm-default-images)."""


def origins(image: Image, catalogue: Catalogue, shelf: Shelf, namespaces: tuple[str, ...]) -> Iterator[Origin]:
    """What there is of ``image``, and complete, in the order of ``namespaces``, which alone are believed.

    Nothing, when the cluster's catalogue says itself where the image comes from.
    """
    if image.own_source:
        return
    for namespace in namespaces:
        for wanted in image.ready_made:
            for source in shelf.data_sources:
                if source.namespace == namespace and source.name == wanted and source.ready:
                    yield Origin(OriginKind.DATA_SOURCE, namespace, wanted)
        for disk in shelf.disks:
            if disk.namespace == namespace and disk.ready and not disk.deleting and _holds(disk, image, catalogue):
                yield Origin(OriginKind.CLAIM, namespace, disk.name, disk.size)


def _holds(disk: Disk, image: Image, catalogue: Catalogue) -> bool:
    if _note(disk, "architecture") not in ("", image.architecture):
        return False
    return any(exact(catalogue, name) == image for name in _names(disk))


def _names(disk: Disk) -> Iterator[str]:
    """What a disk is called, in Cozystack's annotations or by its name; older ones have only the latter."""
    if not disk.name.startswith(f"{_COZYSTACK}-"):
        return
    yield from filter(None, (_note(disk, "name"), disk.name.removeprefix(f"{_COZYSTACK}-")))
    if (system := _note(disk, "os-name")) and (version := _note(disk, "os-version")):
        yield f"{system} {version}"


def _note(disk: Disk, what: str) -> str:
    return disk.annotations.get(f"{_COZYSTACK}.cozystack.io/{what}", "")
