"""Which Pods tell the scheduler what is taken beside their containers: admission writes it, by RuntimeClass."""

from collections.abc import Iterable

import msgspec

from kubelet_bridge.kube.informer import Cached

INDEX = "resources of overhead"
_SAID = b'"overhead"'


class _Spec(msgspec.Struct, frozen=True):
    overhead: dict[str, str | int | float] = {}


class _Pod(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def by_overhead(cached: Cached) -> Iterable[str]:
    """The indexer for ``INDEX``: by the name of each resource, such as ``memory``."""
    return msgspec.json.decode(cached.raw, type=_Pod).spec.overhead if _SAID in cached.raw else ()
