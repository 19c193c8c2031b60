"""What the image catalogue has for claims: the same golden images of which the root disks of VMs are clones."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from kubelet_bridge.model.catalogue import Image
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.volumesnapshot import ImageOffer
from kubelet_bridge.reconcile import goldens
from kubelet_bridge.reconcile.goldenplanner import NoGoldenImage, Wait
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.catalogue.lookup import UnknownImage, find
from kubelet_bridge.translate.config import ImageDisks

_PERCENTAGE = re.compile(r" \d+(?:\.\d+)?%")


class CatalogueImages:
    """Satisfies ``ImagePort``; ``current`` gives the catalogue as it is now."""

    def __init__(self, cluster: ClusterPort, current: Callable[[], Awaitable[ImageDisks]]) -> None:
        self._cluster = cluster
        self._current = current

    async def offer(self, name: str, size: int) -> ImageOffer:
        """See ``ImagePort.offer``. What has to be imported first, is."""
        disks = await self._current()
        if disks.trouble:
            return ImageOffer(trouble=disks.trouble)
        try:
            return await self._of(find(disks.catalogue, name), size, disks)
        except (UnknownImage, NoGoldenImage) as error:
            return ImageOffer(trouble=error.message)

    async def _of(self, image: Image, size: int, disks: ImageDisks) -> ImageOffer:
        if size < image.minimum_disk:
            return _offer(image.minimum_disk, {})  # it is refused: nothing has to be imported for that
        origin = await goldens.origin(self._cluster, image, size, disks)
        if isinstance(origin, Wait):
            return ImageOffer(waiting=_PERCENTAGE.sub("", origin.words))  # an event for each percent would be a flood
        return _offer(max(image.minimum_disk, origin.size), golden.population(origin))


def _offer(least: int, population: dict[str, Any]) -> ImageOffer:
    return ImageOffer(population, minimum=Quantity.of_bytes(least).canonical())
