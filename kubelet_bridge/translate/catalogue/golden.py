"""Golden images of our own: one DataVolume for each source, however many entries, Pods, bridges and restarts want it.

Its name is a function of the source alone, and it is made by POST: of two that come at once, one is told that it is
there already. So nothing is remembered, and an import is begun once.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kubelet_bridge.model.catalogue import HttpSource, Image, RegistrySource
from kubelet_bridge.model.goldenimage import Disk, Origin, OriginKind
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, MANAGED_BY, PREFIX, label_value, short_hash
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.storagenames import ANNOTATION_BIND_NOW, ANNOTATION_KEEP_WHEN_DONE
from kubelet_bridge.translate.config import ImageDisks

LABEL_IMAGE = f"{PREFIX}/image"
"""On golden images: the canonical name of the entry that it was imported for first."""

ANNOTATION_SOURCE = f"{PREFIX}/image-source"
"""On golden images: what they were imported from, as it is hashed into their names."""

_LONGEST_STEM = 46
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")

Json = dict[str, Any]
Importable = HttpSource | RegistrySource


def identity(source: Importable) -> str:
    """Text that is the same for the same source; a checksum makes another source of a URL."""
    return msgspec.json.encode(msgspec.to_builtins(source), order="sorted").decode()


def name(source: Importable) -> str:
    """Of the DataVolume and its claim: the end of the URL, to be recognised by, and a hash of the whole source."""
    last = urlsplit(source.url).path.rstrip("/").rpartition("/")[2] or "image"
    stem = _NOT_IN_NAMES.sub("-", last.lower())[:_LONGEST_STEM].strip("-") or "image"
    return f"{stem}-{short_hash(identity(source))}"


def build(image: Image, source: Importable, disks: ImageDisks) -> Json:
    """The manifest of the DataVolume that imports ``source``.

    Nobody owns it. It is bound at once, as no Pod ever uses it, and CDI is not to tidy it away when it is done.
    """
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {
            "name": name(source),
            "namespace": disks.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_IMAGE: label_value(image.name)},
            "annotations": {
                ANNOTATION_SOURCE: identity(source),
                ANNOTATION_BIND_NOW: "true",
                ANNOTATION_KEEP_WHEN_DONE: "false",
            },
        },
        "spec": {"source": importing(source), "storage": storage(image.minimum_disk, disks)},
    }


def importing(source: Importable) -> Json:
    """``spec.source`` of a DataVolume that fetches it."""
    match source:
        case HttpSource(url=url, checksum=checksum):
            return {"http": {"url": url, **({"checksum": checksum} if checksum else {})}}
        case RegistrySource(url=url):
            return {"registry": {"url": url}}


def storage(size: int, disks: ImageDisks) -> Json:
    """``spec.storage``: CDI takes modes from the StorageProfile, and adds what a file system takes for itself."""
    chosen = {"storageClassName": disks.storage_class} if disks.storage_class else {}
    return {"resources": {"requests": {"storage": Quantity.of_bytes(size).canonical()}}, **chosen}


def is_ours(disk: Disk, source: Importable) -> bool:
    """Whether a disk of that name is what we import ``source`` into, and no stranger's."""
    marked = disk.labels.get(LABEL_MANAGED_BY) == MANAGED_BY
    return marked and disk.annotations.get(ANNOTATION_SOURCE) == identity(source)


def population(origin: Origin) -> Json:
    """What makes a DataVolume a clone of ``origin``: CDI picks the best way its storage has."""
    if origin.kind is OriginKind.DATA_SOURCE:
        return {"sourceRef": {"kind": "DataSource", "namespace": origin.namespace, "name": origin.name}}
    return {"source": {"pvc": {"namespace": origin.namespace, "name": origin.name}}}
