"""What a list, a watch and the answers to our own writes amount to. Sans I/O: they come in, changes go out.

The three may overtake each other. An answer can come before or after the event it causes, and while a list is under way
that was made before it. The rule is always the same: of one incarnation (uid) the higher resourceVersion wins, an
incarnation that has gone does not come back, and a list is the truth about everything not written since it was made.
"""

from collections import OrderedDict
from collections.abc import Mapping

from kubelet_bridge.kube.objectcache import Cached, Indexer, ObjectCache, ObjectName, order
from kubelet_bridge.kube.watch import EventKind

Change = tuple[EventKind, Cached]
"""What subscribers are told: ADDED, MODIFIED or DELETED, and the newest state (of a deleted object, the last one)."""

_REMEMBERED = 1024
_FOR_GOOD = 1 << 63


class Replica:
    """The objects of one kind as far as they are known here.

    Attributes:
        objects: what there is.
        version: the resourceVersion up to which everything has been seen; empty before the first list.
    """

    def __init__(self, indexers: Mapping[str, Indexer] | None = None) -> None:
        self.objects = ObjectCache(indexers)
        self.version = ""
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._untold: set[ObjectName] = set()
        self._listed: set[ObjectName] = set()
        self._learned: set[ObjectName] = set()

    def learn(self, cached: Cached) -> list[Change]:
        """Take in the answer to a write of ours. Its own event still comes, and is what tells subscribers of it.

        An answer about an object that is not here is taken only when it is from after all that has been seen: else the
        object has been deleted since, and nothing would ever remove it again.
        """
        old = self.objects.get(cached.where)
        if old is not None and old.head.uid == cached.head.uid:
            news = cached.version >= old.version
        else:
            news = cached.version > max(order(self.version), old.version if old is not None else 0)
        if not news or self._has_gone(cached):
            return []
        changes = self._successor(old, cached)
        self.objects.put(cached)
        self._learned.add(cached.where)
        self._untold.add(cached.where)
        return changes

    def unlearn(self, where: ObjectName, *, uid: str) -> None:
        """The API server has removed an incarnation for us: what is still on its way about it is passed over."""
        self._bury(uid, _FOR_GOOD)
        cached = self.objects.get(where)
        if cached is not None and cached.head.uid == uid:
            self._remove(where)

    def begin_list(self) -> None:
        """A list is about to be asked for: only what is learned from here on can be newer than it."""
        self._listed.clear()
        self._learned.clear()
        self._gone.clear()  # the history itself may be another one: somebody may have restored etcd from a backup

    def listed(self, cached: Cached) -> list[Change]:
        """One object of the list."""
        if self._has_gone(cached):  # then what is here by its name is not in the list
            return []
        self._listed.add(cached.where)
        old = self.objects.get(cached.where)
        if old is not None and cached.where in self._learned and old.version > cached.version:
            return []
        if old is not None and cached.where not in self._untold and _same(old, cached):
            return []
        return self._take(old, cached)

    def end_list(self, version: str) -> list[Change]:
        """The list, made at ``version``, was complete: what was not in it is gone, unless it was made since."""
        self.version = version
        gone = [one for one in self.objects.all() if one.where not in self._listed]
        gone = [one for one in gone if one.where not in self._learned or one.version <= order(version)]
        for one in gone:
            self._remove(one.where)
        self._listed.clear()
        return [(EventKind.DELETED, one) for one in gone]

    def event(self, kind: EventKind, cached: Cached) -> list[Change]:
        """One event of the watch; a bookmark only moves ``version`` on."""
        self._advance(cached.head.metadata.resource_version)
        match kind:
            case EventKind.BOOKMARK:
                return []
            case EventKind.DELETED:
                return self._deleted(cached)
            case EventKind.ADDED | EventKind.MODIFIED:
                return self._changed(cached)

    def _advance(self, version: str) -> None:
        if version and (not version.isdecimal() or order(version) > order(self.version)):
            self.version = version

    def _deleted(self, cached: Cached) -> list[Change]:
        if self._gone.get(cached.head.uid) == _FOR_GOOD:
            return []
        old = self.objects.get(cached.where)
        if old is not None and old.head.uid == cached.head.uid:
            if old.version > cached.version:  # it left the selection, and has come back already
                return []
            self._remove(cached.where)
        self._bury(cached.head.uid, cached.version)
        return [(EventKind.DELETED, cached)]

    def _changed(self, cached: Cached) -> list[Change]:
        if self._has_gone(cached):
            return []
        old = self.objects.get(cached.where)
        if old is not None and old.version > cached.version:
            # A write of ours was answered first. Somebody else's change may be in between, so it is told all the same.
            return [(EventKind.MODIFIED, old)] if old.head.uid == cached.head.uid else []
        return self._take(old, cached)

    def _take(self, old: Cached | None, cached: Cached) -> list[Change]:
        changes = self._successor(old, cached)
        kind = EventKind.ADDED if old is None or changes else EventKind.MODIFIED
        self.objects.put(cached)
        self._untold.discard(cached.where)
        return [*changes, (kind, cached)]

    def _successor(self, old: Cached | None, cached: Cached) -> list[Change]:
        """An object of the same name and another uid means that the former one has gone, told of or not."""
        if old is None or old.head.uid == cached.head.uid:
            return []
        self._remove(old.where)
        return [(EventKind.DELETED, old)]

    def _remove(self, where: ObjectName) -> None:
        self.objects.remove(where)
        self._untold.discard(where)

    def _bury(self, uid: str, version: int) -> None:
        self._gone[uid] = version
        self._gone.move_to_end(uid)
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _has_gone(self, cached: Cached) -> bool:
        """Whether this incarnation was seen to go, at this version or a later one."""
        return cached.version <= self._gone.get(cached.head.uid, -1)


def _same(one: Cached, other: Cached) -> bool:
    same_version = one.head.metadata.resource_version == other.head.metadata.resource_version
    return same_version and one.head.uid == other.head.uid
