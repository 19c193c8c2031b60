"""Brings about what a clone of an image is made of: whoever wants one, the root disk of a VM or a claim, asks here.

Looking and acting may be repeated, or be done by two at once: what is made has a name that follows from its source.
"""

from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists, NotFound
from kubelet_bridge.model.catalogue import HttpSource, Image, RegistrySource
from kubelet_bridge.model.goldenimage import Origin
from kubelet_bridge.reconcile.goldenplanner import Import, NoGoldenImage, Step, Use, Wait, plan
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.translate.catalogue import golden, readymade
from kubelet_bridge.translate.config import ImageDisks


async def origin(cluster: ClusterPort, image: Image, wanted: int, disks: ImageDisks) -> Origin | Wait:
    """What a clone of ``image`` of at most ``wanted`` bytes (0: any) is made of, or what it waits for.

    Raises:
        NoGoldenImage: somebody has to do something first.
        ApiError: the API server refused, or could not be asked.
    """
    match await _step(cluster, image, wanted, disks):
        case Use(found):
            return await _sized(cluster, found)
        case Wait() as wait:
            return wait
        case Import(manifest):
            try:
                await create(cluster, disks.namespace, manifest)
            except AlreadyExists:  # by another Pod, another bridge, or an earlier try whose answer was lost
                pass
            return Wait(f"golden image {manifest['metadata']['name']} is being imported")


async def _step(cluster: ClusterPort, image: Image, wanted: int, disks: ImageDisks) -> Step:
    shelf, source = await cluster.shelf(disks.ready_made_in), image.source
    found = readymade.origins(image, disks.catalogue, shelf, disks.ready_made_in)
    ready = [await _sized(cluster, one) for one in found]
    if not isinstance(source, HttpSource | RegistrySource):
        return plan(image, wanted, None, ready, disks)
    disk = await cluster.get_disk(disks.namespace, golden.name(source))
    return plan(image, wanted, disk, ready, disks)


async def _sized(cluster: ClusterPort, found: Origin) -> Origin:
    return found if found.size else msgspec.structs.replace(found, size=await cluster.origin_size(found))


async def create(cluster: ClusterPort, namespace: str, manifest: dict[str, Any]) -> None:
    """Create a DataVolume. A POST is answered with 404 where there is no such kind of object, or no such namespace.

    Raises:
        NoGoldenImage: there is not.
        AlreadyExists: there is one of that name, whoever made it.
        ApiError: the API server refused, or could not be asked.
    """
    try:
        await cluster.create_disk(namespace, manifest)
    except NotFound as error:
        raise NoGoldenImage(f"no DataVolume can be made here ({error.message}): is CDI installed?") from error
