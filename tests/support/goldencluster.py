"""A cluster of DataVolumes that answers when it likes, for what makes golden images and clones of them."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists, ApiError, Transient
from kubelet_bridge.model.goldenimage import Disk, Origin, Shelf
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.config import ImageDisks
from tests.support.catalogue import CATALOGUE

DISKS = ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge", ready_made_in=("cozy-public",))


class Cluster:
    """DataVolumes by namespace and name; ``lost`` answers to POSTs never arrive."""

    def __init__(self) -> None:
        self.disks: dict[tuple[str, str], Disk] = {}
        self.posted: list[str] = []
        self.shelves = Shelf()
        self.sizes: dict[str, int] = {}
        self.lost = 0
        self.refusal: ApiError | None = None

    async def get_disk(self, namespace: str, name: str) -> Disk | None:
        await asyncio.sleep(0)
        return self.disks.get((namespace, name))

    async def create_disk(self, namespace: str, manifest: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        head = manifest["metadata"]
        if (namespace, head["name"]) in self.disks:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        size = Quantity.parse(manifest["spec"]["storage"]["resources"]["requests"]["storage"]).ceil()
        self.disks[namespace, head["name"]] = Disk(
            namespace=namespace, name=head["name"], labels=head["labels"], annotations=head.get("annotations", {}),
            size=size, words=f"DataVolume {head['name']} ImportInProgress 42.50%",
        )  # fmt: skip
        self.posted.append(f"{namespace}/{head['name']}")
        if self.lost:
            self.lost -= 1
            raise Transient("no answer")

    async def shelf(self, namespaces: Iterable[str]) -> Shelf:
        assert tuple(namespaces) == DISKS.ready_made_in
        return self.shelves

    async def origin_size(self, origin: Origin) -> int:
        await asyncio.sleep(0)
        return self.sizes.get(origin.name, 0)

    def finish(self) -> None:
        self.disks = {place: msgspec.structs.replace(disk, ready=True) for place, disk in self.disks.items()}

    def goldens(self) -> list[str]:
        return [one for one in self.posted if one.startswith("kubelet-bridge/")]
