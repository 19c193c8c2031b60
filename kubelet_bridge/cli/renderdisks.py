"""The DataVolumes of ``kubelet-bridge render``: as they are made on a cluster that has nothing yet."""

from typing import Any

from kubelet_bridge.model.goldenimage import Origin, OriginKind
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.goldenplanner import Import, Use, plan
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.catalogue import packaged
from kubelet_bridge.translate.catalogue.parse import parse
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage, ImageKind

Json = dict[str, Any]


def packaged_images(override: str = "") -> ImageDisks:
    """The packaged catalogue, changed by ``override``.

    Raises:
        InvalidCatalogue: that is not as it must be.
    """
    return ImageDisks(
        catalogue=parse(packaged.text(), override, where="the image catalogue"), namespace="kubelet-bridge"
    )


def disks(world: Snapshot, boot: BootImage, images: ImageDisks, node: str) -> list[Json]:
    """What is made before the VM of ``world``: the golden image, and the disk that is cloned of it.

    Raises:
        NoGoldenImage: the image comes without a disk.
    """
    pod = world.pod
    if pod is None or not rootdisk.has_one(boot):
        return []
    if boot.kind is ImageKind.HTTP or boot.image is None:
        return [rootdisk.download(pod, world.key, boot, images, node)]
    step = plan(boot.image, 0, None, (), images)
    if isinstance(step, Import):
        name = step.manifest["metadata"]["name"]
        origin = Origin(OriginKind.CLAIM, images.namespace, name, boot.image.minimum_disk)
        return [step.manifest, rootdisk.clone(pod, world.key, boot, origin, images, node)]
    return [rootdisk.clone(pod, world.key, boot, step.origin, images, node)] if isinstance(step, Use) else []
