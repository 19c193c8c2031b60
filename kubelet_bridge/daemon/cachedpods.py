"""The Pods of this node as we know them: as a kubelet's status manager, ahead of an API server that is away."""

from collections.abc import Callable
from functools import lru_cache

import msgspec

from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.core import Pod, PodStatus

_KEPT = 256

_decoded = lru_cache(_KEPT)(msgspec.json.Decoder(Pod).decode)
"""Whoever follows a log looks again and again at a Pod that has not changed."""


class CachedPods:
    """``get`` is a ``CachedPod``.

    Attributes:
        unwritten: by uid, the status that the API server has not taken yet.
    """

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self.unwritten: Callable[[str], PodStatus | None] = lambda _: None

    def get(self, namespace: str, name: str) -> Pod | None:
        """A Pod by its name."""
        cached = self._view.pods.get(namespace, name)
        if cached is None:
            return None
        pod, status = _decoded(cached.raw), self.unwritten(cached.head.uid)
        return pod if status is None else msgspec.structs.replace(pod, status=status)
