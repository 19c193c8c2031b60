"""Which of the node's Pods name a claim: they are looked at when something about the disk behind it changes."""

from collections import defaultdict

import msgspec

from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.translate.hotplug import all_claims

_POD = msgspec.json.Decoder(Pod)
_Claim = tuple[str, str]


class Claimants:
    """Kept by the Pods' informer; nothing is asked for."""

    def __init__(self, pods: Informer) -> None:
        self._pods: defaultdict[_Claim, set[PodKey]] = defaultdict(set)
        self._claims: dict[PodKey, set[str]] = {}
        pods.subscribe(self._changed)

    def of(self, namespace: str, claim: str) -> list[PodKey]:
        """The Pods that name this claim."""
        return sorted(self._pods.get((namespace, claim), ()))

    def _changed(self, kind: EventKind, cached: Cached) -> None:
        """What a Pod names may be another claim than before: those to be plugged in are in an annotation."""
        key = PodKey(cached.head.namespace, cached.head.name, cached.head.uid)
        named = set() if kind is EventKind.DELETED else {*all_claims(_POD.decode(cached.raw))}
        for claim in self._claims.pop(key, set()) - named:
            where = (key.namespace, claim)
            self._pods[where].discard(key)
            if not self._pods[where]:
                del self._pods[where]
        for claim in named:
            self._pods[key.namespace, claim].add(key)
        if named:
            self._claims[key] = named
