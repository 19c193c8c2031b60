"""Makes the disk that a VM boots from: an import of its own, or a clone, once there is something to clone."""

from typing import Any

from kubelet_bridge.errors import AlreadyExists, Transient
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Disk, RootDisk
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.reconcile import goldens
from kubelet_bridge.reconcile.actions import MakeRootDisk
from kubelet_bridge.reconcile.goldenplanner import NoGoldenImage, Wait
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.ownership import belongs


async def prepare(cluster: ClusterPort, pod: Pod, key: PodKey, wanted: MakeRootDisk) -> RootDisk:
    """Bring the disk of ``pod`` (of the machine ``key``) as far as it can be brought now. May be repeated.

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
    origin = await goldens.origin(cluster, boot.image, size.wanted if size.fields else 0, disks)
    if isinstance(origin, Wait):
        return RootDisk(made=False, words=origin.words)
    return await _make(cluster, key.namespace, rootdisk.clone(pod, key, boot, origin, disks, wanted.node))


def _taken_as_made(disk: Disk, key: PodKey) -> RootDisk:
    if not belongs(disk.labels, key):
        raise NoGoldenImage(f"DataVolume {disk.namespace}/{disk.name} is in the way: it is not this Pod's")
    if disk.deleting:
        return RootDisk(made=False, words=f"DataVolume {disk.name} is being deleted, and will be made again")
    return RootDisk(made=True)


async def _make(cluster: ClusterPort, namespace: str, manifest: dict[str, Any]) -> RootDisk:
    try:
        await goldens.create(cluster, namespace, manifest)
    except AlreadyExists as error:  # an earlier try whose answer was lost, or a stranger's: the next look tells
        raise Transient(f"{manifest['metadata']['name']} has appeared meanwhile", reason="Conflict") from error
    return RootDisk(made=True)
