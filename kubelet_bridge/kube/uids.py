"""The indexers by which objects are found by a uid: their own, or that of the Pod they were made for."""

from collections.abc import Iterable

from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.model.meta import LABEL_POD_UID


def by_uid(cached: Cached) -> Iterable[str]:
    """By the object's own."""
    return (cached.head.uid,)


def by_pod_uid(cached: Cached) -> Iterable[str]:
    """By that of its Pod, as the label says that we put on whatever we make for one."""
    uid = cached.head.labels.get(LABEL_POD_UID)
    return (uid,) if uid else ()
