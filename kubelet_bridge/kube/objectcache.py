"""Objects of one kind by namespace and name, and by whatever else they are looked for."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from kubelet_bridge.model.meta import ObjectHead

ObjectName = tuple[str, str]
"""Namespace (empty when the kind has none) and name."""


class Cached(msgspec.Struct, frozen=True):
    """An object as the cache holds it: its decoded head, and all of it as JSON."""

    head: ObjectHead
    raw: bytes

    @property
    def where(self) -> ObjectName:
        """Its key in the cache."""
        return self.head.namespace, self.head.name

    @property
    def version(self) -> int:
        """Its resourceVersion as a number."""
        return order(self.head.metadata.resource_version)


Indexer = Callable[[Cached], Iterable[str]]


def order(version: str) -> int:
    """A resourceVersion as a number: those of one kind can be compared (KEP-5504); 0 for one that is no number."""
    return int(version) if version.isdecimal() else 0


class ObjectCache:
    """A dictionary with indexes that cannot come apart from it."""

    def __init__(self, indexers: Mapping[str, Indexer] | None = None) -> None:
        self._objects: dict[ObjectName, Cached] = {}
        self._indexers = dict(indexers or {})
        self._indexes: dict[str, dict[str, set[ObjectName]]] = {name: {} for name in self._indexers}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, where: ObjectName) -> Cached | None:
        """The object of that name."""
        return self._objects.get(where)

    def all(self) -> list[Cached]:
        """Every object."""
        return list(self._objects.values())

    def by_index(self, index: str, value: str) -> list[Cached]:
        """The objects whose indexer named ``index`` gave ``value``, by name."""
        return [self._objects[where] for where in sorted(self._indexes[index].get(value, ()))]

    def put(self, cached: Cached) -> None:
        """Take in an object, in the place of what had its name."""
        self.remove(cached.where)
        self._objects[cached.where] = cached
        for index, value in self._indexed(cached):
            index.setdefault(value, set()).add(cached.where)

    def remove(self, where: ObjectName) -> None:
        """Take out the object of that name, if there is one."""
        if (old := self._objects.pop(where, None)) is None:
            return
        for index, value in self._indexed(old):
            names = index[value]
            names.discard(where)
            if not names:
                del index[value]

    def _indexed(self, cached: Cached) -> Iterable[tuple[dict[str, set[ObjectName]], str]]:
        for name, indexer in self._indexers.items():
            for value in set(indexer(cached)):
                yield self._indexes[name], value
