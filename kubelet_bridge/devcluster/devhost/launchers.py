"""The virt-launcher Pods on this host, found by the VirtualMachineInstance they are for."""

from collections.abc import Iterable

import msgspec

from kubelet_bridge.devcluster.devhost.domains import Key
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import ObjectMeta

LABEL_APP = "kubevirt.io"
LABEL_CREATED_BY = "kubevirt.io/created-by"
ANNOTATION_DOMAIN = "kubevirt.io/domain"

_POD = msgspec.json.Decoder(Pod)


def vmi_key(metadata: ObjectMeta) -> Key | None:
    """Namespace and name of the VirtualMachineInstance a Pod is the launcher of; None for other Pods."""
    name = metadata.annotations.get(ANNOTATION_DOMAIN)
    return (metadata.namespace, name) if name and metadata.labels.get(LABEL_APP) == "virt-launcher" else None


def _uid(cached: Cached) -> Iterable[str]:
    return (cached.head.labels.get(LABEL_CREATED_BY, ""),) if vmi_key(cached.head.metadata) else ()


def _name(cached: Cached) -> Iterable[str]:
    key = vmi_key(cached.head.metadata)
    return ("/".join(key),) if key else ()


_UID, _NAME = "vmi-uid", "vmi-name"
INDEXERS = {_UID: _uid, _NAME: _name}
"""What the informer of the Pods must index."""


class Launchers:
    """Looks into the cache of this host's Pods."""

    def __init__(self, pods: Informer) -> None:
        self._pods = pods

    async def wait_synced(self) -> None:
        """Return once the cache holds every Pod."""
        await self._pods.wait_synced()

    def names(self, uid: str) -> list[Key]:
        """Namespaces and names of the launcher Pods of a VirtualMachineInstance."""
        return [(cached.head.namespace, cached.head.name) for cached in self._pods.by_index(_UID, uid)]

    def of(self, uid: str) -> list[Pod]:
        """Every launcher Pod of a VirtualMachineInstance."""
        return [_POD.decode(cached.raw) for cached in self._pods.by_index(_UID, uid)]

    def of_key(self, key: Key) -> list[Pod]:
        """Every launcher Pod of any incarnation of a VirtualMachineInstance."""
        return [_POD.decode(cached.raw) for cached in self._pods.by_index(_NAME, "/".join(key))]

    def running(self, uid: str, name: str | None = None) -> Pod | None:
        """The launcher that can take the guest: it runs, is not to be deleted, and has that ``name`` if given."""
        for pod in self.of(uid):
            wanted = name in (None, pod.metadata.name)
            if wanted and pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None:
                return pod
        return None

    def keys(self) -> set[Key]:
        """The VirtualMachineInstances that have a launcher here."""
        return {key for cached in self._pods.all() if (key := vmi_key(cached.head.metadata)) is not None}
