"""Makes the disk that a VM boots from: an import of its own, or a clone, once there is something to clone.

Every step looks first, and what it makes has a name that follows from what it is for: it may be repeated, or be done
by two at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubelet_bridge.errors import AlreadyExists, NotFound, Transient
from kubelet_bridge.model.catalogue import HttpSource, Image, RegistrySource
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Disk, RootDisk
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.reconcile.actions import MakeRootDisk
from kubelet_bridge.reconcile.goldenplanner import Import, NoGoldenImage, Step, Use, Wait, plan
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.ownership import belongs


async def prepare(cluster: ClusterPort, pod: Pod, key: PodKey, wanted: MakeRootDisk) -> RootDisk:
    """Bring the disk of ``pod`` (of the machine ``key``) as far as it can be brought now.

    Raises:
        NoGoldenImage: somebody has to do something first.
        CannotTranslate: the Pod asks for less than the image needs.
        ApiError: the API server refused, or could not be asked.
    """
    boot, disks = wanted.boot, wanted.disks
    there = await cluster.get_disk(key.namespace, rootdisk.name(key, boot))
    if there is not None:
        return _taken_as_made(there, key)
    if boot.image is None:
        return await _make(cluster, key.namespace, rootdisk.download(pod, key, boot, disks, wanted.node))
    size = rootdisk.size(pod, boot)
    step = await _plan(cluster, boot.image, size.wanted if size.fields else 0, disks)
    match step:
        case Use(origin):
            clone = rootdisk.clone(pod, key, boot, origin, disks, wanted.node)
            return await _make(cluster, key.namespace, clone)
        case Import(manifest):
            await _import(cluster, disks.namespace, manifest)
            return RootDisk(made=False, words=f"golden image {manifest['metadata']['name']} is being imported")
        case Wait(words):
            return RootDisk(made=False, words=words)


async def _plan(cluster: ClusterPort, image: Image, wanted: int, disks: ImageDisks) -> Step:
    shelf = await cluster.shelf(disks.ready_made_in)
    source = image.source
    if not isinstance(source, HttpSource | RegistrySource):
        return plan(image, wanted, None, shelf, disks)
    disk = await cluster.get_disk(disks.namespace, golden.name(source))
    return plan(image, wanted, disk, shelf, disks)


def _taken_as_made(disk: Disk, key: PodKey) -> RootDisk:
    if not belongs(disk.labels, key):
        raise NoGoldenImage(f"DataVolume {disk.namespace}/{disk.name} is in the way: it is not this Pod's")
    if disk.deleting:
        return RootDisk(made=False, words=f"DataVolume {disk.name} is being deleted, and will be made again")
    return RootDisk(made=True)


async def _make(cluster: ClusterPort, namespace: str, manifest: dict[str, Any]) -> RootDisk:
    with _cdi_is_there():
        try:
            await cluster.create_disk(namespace, manifest)
        except AlreadyExists as error:  # an earlier try whose answer was lost, or a stranger's: the next look tells
            raise Transient(f"{manifest['metadata']['name']} has appeared meanwhile", reason="Conflict") from error
    return RootDisk(made=True)


async def _import(cluster: ClusterPort, namespace: str, manifest: dict[str, Any]) -> None:
    with _cdi_is_there():
        try:
            await cluster.create_disk(namespace, manifest)
        except AlreadyExists:
            return


@contextmanager
def _cdi_is_there() -> Iterator[None]:
    """A POST is answered with 404 where there is no such kind of object, or no such namespace."""
    try:
        yield
    except NotFound as error:
        raise NoGoldenImage(f"no DataVolume can be made here ({error.message}): is CDI installed?") from error
