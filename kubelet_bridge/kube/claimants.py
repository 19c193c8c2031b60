"""Which of the node's Pods name a claim: they are looked at when something about the disk behind it changes."""

from collections import defaultdict

import msgspec

from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.translate.claims import claim_names

_POD = msgspec.json.Decoder(Pod)
_Claim = tuple[str, str]


class Claimants:
    """Kept by the Pods' informer; nothing is asked for."""

    def __init__(self, pods: Informer) -> None:
        self._pods: defaultdict[_Claim, set[PodKey]] = defaultdict(set)
        pods.subscribe(self._changed)

    def of(self, namespace: str, claim: str) -> list[PodKey]:
        """The Pods that name this claim."""
        return sorted(self._pods.get((namespace, claim), ()))

    def _changed(self, kind: EventKind, cached: Cached) -> None:
        """A Pod's volumes never change: what it names when it comes, it names when it goes."""
        pod = _POD.decode(cached.raw)
        key = PodKey(cached.head.namespace, cached.head.name, cached.head.uid)
        for claim in claim_names(pod).values():
            where = (key.namespace, claim)
            if kind is not EventKind.DELETED:
                self._pods[where].add(key)
            elif where in self._pods:
                self._pods[where].discard(key)
                if not self._pods[where]:
                    del self._pods[where]
