"""The disk of its own that a VM boots from: what it is called, how large it is, and the DataVolume that makes it.

It goes with the Pod, as the VM does: a VM that is lost and made again finds it as it was.
"""

import re
from typing import Any

import msgspec

from kubelet_bridge.model.catalogue import HttpSource
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Origin
from kubelet_bridge.model.meta import PodKey, short_hash
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.storagenames import ANNOTATION_KEEP_WHEN_DONE, LARGEST_DISK
from kubelet_bridge.translate import annotations
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage, ImageKind
from kubelet_bridge.translate.ownership import metadata
from kubelet_bridge.translate.resources import amounts_with_paths, promised
from kubelet_bridge.translate.support import CannotTranslate, Refusal

SIZE_FIELD = f"metadata.annotations[{annotations.ROOT_DISK_SIZE}]"
DEFAULT_SIZE = 10 * 2**30
"""Of a disk for an image at a URL, of which nothing is known beforehand."""

_STORAGE = "ephemeral-storage"
_LONGEST_STEM = 49
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9-]")


class RootSize(msgspec.Struct, frozen=True):
    """Bytes, and the fields of the Pod that ask for them; without any, the image has its way."""

    wanted: int
    fields: tuple[str, ...] = ()

    def on(self, least: int, what: str) -> int:
        """The size of a disk for ``what``, which has ``least`` bytes.

        Raises:
            CannotTranslate: the Pod asks for less.
        """
        if self.wanted >= least:
            return self.wanted
        if not self.fields:
            return least
        asked, needed = Quantity.of_bytes(self.wanted).canonical(), Quantity.of_bytes(least).canonical()
        reason = f"{asked} is smaller than {what}, which needs a disk of {needed}"
        raise CannotTranslate([Refusal(field, reason) for field in self.fields])


def has_one(boot: BootImage) -> bool:
    """Whether the VM boots from a disk that is made for it."""
    return boot.kind in (ImageKind.CATALOGUE, ImageKind.HTTP)


def name(key: PodKey, boot: BootImage) -> str:
    """Of the DataVolume and its claim: another one for each Pod incarnation (or machine), and for each image it boots.

    So a Pod whose image is changed boots another disk, and the one before stays as long as the Pod.
    """
    stem = _NOT_IN_A_LABEL.sub("-", key.name[:_LONGEST_STEM].lower()).strip("-") or "pod"
    return f"{stem}-root-{short_hash(f'{key.uid}/{boot.kind}/{boot.reference}')}"


def size(pod: Pod, boot: BootImage) -> RootSize:
    """What the annotation asks for, else the Pod's ephemeral storage, else the image.

    Raises:
        CannotTranslate: the annotation is no size, or smaller than the catalogue allows.
    """
    least = boot.image.minimum_disk if boot.image else 0
    found = _asked(pod) or RootSize(least or DEFAULT_SIZE)
    found.on(least, boot.reference)
    return found


def _asked(pod: Pod) -> RootSize | None:
    if text := pod.metadata.annotations.get(annotations.ROOT_DISK_SIZE, "").strip():
        try:
            amount = Quantity.parse(text)
        except InvalidQuantity as error:
            raise CannotTranslate([Refusal(SIZE_FIELD, error.message)]) from error
        if not 0 < amount.value <= LARGEST_DISK:
            raise CannotTranslate([Refusal(SIZE_FIELD, f"{text} is no size of a disk")])
        return RootSize(amount.ceil(), (SIZE_FIELD,))
    if amount := promised(pod, _STORAGE):
        paths = tuple(path for path, resource, _ in amounts_with_paths(pod) if resource == _STORAGE)
        return RootSize(amount.ceil(), paths)
    return None


def clone(pod: Pod, key: PodKey, boot: BootImage, origin: Origin, disks: ImageDisks, node: str) -> dict[str, Any]:
    """The manifest of the DataVolume that is a clone of ``origin``.

    Raises:
        CannotTranslate: the Pod asks for less than that has.
    """
    bytes_ = size(pod, boot).on(origin.size, f"{boot.reference} ({origin.namespace}/{origin.name})")
    return _datavolume(key, boot, golden.population(origin), bytes_, disks, node)


def download(pod: Pod, key: PodKey, boot: BootImage, disks: ImageDisks, node: str) -> dict[str, Any]:
    """The manifest of the DataVolume that an image at a URL is imported into.

    It is fetched for this VM alone, in the Pod's namespace: what one tenant names is no golden image of another's.
    """
    source = {"source": golden.importing(HttpSource(boot.reference))}
    return _datavolume(key, boot, source, size(pod, boot).wanted, disks, node)


def _datavolume(
    key: PodKey, boot: BootImage, population: dict[str, Any], bytes_: int, disks: ImageDisks, node: str
) -> dict[str, Any]:
    """It is not bound before the launcher comes: where its class waits, it is to be where the VM can run."""
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {**metadata(name(key, boot), key, node), "annotations": {ANNOTATION_KEEP_WHEN_DONE: "false"}},
        "spec": {**population, "storage": golden.storage(bytes_, disks)},
    }
