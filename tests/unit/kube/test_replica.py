"""The cache under every order in which lists, watch events and answers to our own writes may arrive."""

from collections.abc import Iterable

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubelet_bridge.kube.objectcache import Cached
from kubelet_bridge.kube.replica import Change, Replica
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.meta import ObjectHead, ObjectMeta

ADDED, MODIFIED, DELETED, BOOKMARK = EventKind.ADDED, EventKind.MODIFIED, EventKind.DELETED, EventKind.BOOKMARK


def thing(name: str, uid: str, version: int) -> Cached:
    metadata = ObjectMeta(name=name, namespace="n", uid=uid, resource_version=str(version))
    return Cached(ObjectHead(metadata), msgspec.json.encode({"metadata": metadata}))


def told(changes: Iterable[Change]) -> list[tuple[EventKind, str]]:
    return [(kind, cached.head.uid) for kind, cached in changes]


def listed(replica: Replica, version: int, *things: Cached) -> list[Change]:
    replica.begin_list()
    changes = [change for one in things for change in replica.listed(one)]
    return [*changes, *replica.end_list(str(version))]


def test_a_list_after_a_gap_tells_what_went_and_what_took_its_name() -> None:
    replica = Replica()
    listed(replica, 3, thing("same", "u1", 1), thing("replaced", "u2", 2), thing("gone", "u3", 3))
    changes = listed(replica, 9, thing("same", "u1", 1), thing("replaced", "u4", 8))
    assert told(changes) == [(DELETED, "u2"), (ADDED, "u4"), (DELETED, "u3")]


def test_a_watch_that_brings_a_successor_tells_of_the_former_one_first() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    assert told(replica.event(ADDED, thing("a", "u2", 5))) == [(DELETED, "u1"), (ADDED, "u2")]
    replica.event(DELETED, thing("a", "u1", 4))
    assert [one.head.uid for one in replica.objects.all()] == ["u2"]


def test_an_answer_is_seen_at_once_and_its_event_is_still_told() -> None:
    replica = Replica()
    listed(replica, 1)
    assert replica.learn(thing("a", "u1", 2)) == []
    assert [one.head.uid for one in replica.objects.all()] == ["u1"]
    assert told(replica.event(ADDED, thing("a", "u1", 2))) == [(MODIFIED, "u1")]


def test_an_answer_that_comes_after_the_deletion_changes_nothing() -> None:
    replica = Replica()
    listed(replica, 1)
    replica.event(ADDED, thing("a", "u1", 2))
    replica.event(DELETED, thing("a", "u1", 3))
    replica.learn(thing("a", "u1", 2))
    assert replica.objects.all() == []


def test_what_is_learned_during_a_list_is_newer_than_it() -> None:
    replica = Replica()
    listed(replica, 1, thing("kept", "u0", 1))
    replica.begin_list()  # made at 5, before these two writes
    replica.learn(thing("new", "u1", 6))
    replica.learn(thing("kept", "u0", 7))
    changes = [*replica.listed(thing("kept", "u0", 1)), *replica.end_list("5")]
    assert changes == []
    assert {one.head.uid: one.version for one in replica.objects.all()} == {"u0": 7, "u1": 6}


def test_what_was_learned_before_a_list_and_is_not_in_it_has_gone() -> None:
    replica = Replica()
    listed(replica, 1)
    replica.learn(thing("a", "u1", 6))
    assert told(listed(replica, 9)) == [(DELETED, "u1")]


def test_what_was_learned_and_never_told_of_is_told_by_the_list() -> None:
    """Somebody else's change may be in the answer to our write, and its event may be lost."""
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    replica.learn(thing("a", "u1", 4))
    assert told(listed(replica, 9, thing("a", "u1", 4))) == [(MODIFIED, "u1")]


def test_an_answer_that_overtakes_somebody_elses_change_does_not_hide_it() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    replica.learn(thing("a", "u1", 4))
    changes = replica.event(MODIFIED, thing("a", "u1", 3))
    assert [(kind, cached.version) for kind, cached in changes] == [(MODIFIED, 4)]


def test_an_answer_about_a_successor_tells_that_the_former_one_has_gone() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    assert told(replica.learn(thing("a", "u2", 4))) == [(DELETED, "u1")]


def test_what_we_removed_does_not_come_back() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    replica.unlearn(("n", "a"), uid="u1")
    assert replica.learn(thing("a", "u1", 2)) == []
    assert replica.event(MODIFIED, thing("a", "u1", 2)) == []
    assert replica.event(DELETED, thing("a", "u1", 3)) == []
    assert told(replica.event(ADDED, thing("a", "u2", 4))) == [(ADDED, "u2")]


def test_an_event_from_before_the_deletion_that_comes_after_it_is_passed_over() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    replica.event(DELETED, thing("a", "u1", 3))
    assert replica.event(MODIFIED, thing("a", "u1", 2)) == []
    assert replica.objects.all() == []


def test_an_object_that_leaves_the_selection_may_come_back() -> None:
    replica = Replica()
    listed(replica, 1, thing("a", "u1", 1))
    replica.event(DELETED, thing("a", "u1", 2))
    assert told(replica.event(ADDED, thing("a", "u1", 3))) == [(ADDED, "u1")]


def test_a_list_from_a_restored_backup_is_believed() -> None:
    replica = Replica()
    listed(replica, 900, thing("a", "u1", 800), thing("b", "u2", 850))
    replica.event(DELETED, thing("b", "u2", 901))
    replica.learn(thing("c", "u3", 902))
    changes = listed(replica, 300, thing("a", "u1", 200), thing("b", "u2", 250))
    assert told(changes) == [(MODIFIED, "u1"), (ADDED, "u2"), (DELETED, "u3")]
    assert replica.version == "300"


def test_a_bookmark_moves_the_version_and_nothing_else() -> None:
    replica = Replica()
    listed(replica, 5)
    assert replica.event(BOOKMARK, thing("", "", 40)) == []
    replica.event(BOOKMARK, thing("", "", 30))
    assert (replica.version, replica.objects.all()) == ("40", [])


class Server:
    """A history of one kind: what a consistent list and a watch from a version would bring."""

    def __init__(self) -> None:
        self.revision = 0
        self.events: list[tuple[EventKind, Cached]] = []
        self.things: dict[str, Cached] = {}

    def put(self, name: str) -> Cached:
        self.revision += 1
        old = self.things.get(name)
        new = thing(name, old.head.uid if old else f"u{self.revision}", self.revision)
        self.things[name] = new
        self.events.append((MODIFIED if old else ADDED, new))
        return new

    def delete(self, name: str) -> str:
        self.revision += 1
        old = self.things.pop(name)
        self.events.append((DELETED, thing(name, old.head.uid, self.revision)))
        return old.head.uid


class Client:
    """A replica in front of the server, whose answers, events and lists are on their way for a while."""

    def __init__(self) -> None:
        self.server, self.replica = Server(), Replica()
        self.answers: list[Cached | tuple[str, str]] = []
        self.seen = 0
        self.list: list[Cached] | None = None
        self.list_version, self.list_events = 0, 0
        self.alive: set[str] = set()

    def tell(self, changes: Iterable[Change]) -> None:
        for kind, cached in changes:
            if kind is DELETED:
                self.alive.discard(cached.head.uid)
            else:
                self.alive.add(cached.head.uid)

    def step(self, what: str, name: str) -> None:
        if what in ("theirs", "ours"):
            new = self.server.put(name)
            self.answers += [new] if what == "ours" else []
        elif what in ("they delete", "we delete") and name in self.server.things:
            uid = self.server.delete(name)
            self.answers += [(name, uid)] if what == "we delete" else []
        elif what == "answer" and self.answers:
            self.answer(0 if name == "a" else -1)
        elif what == "event" and self.list is None:
            self.event()
        elif what == "list" and self.list is None:
            self.begin_list()
        elif what == "item" and self.list is not None:
            self.item(self.list)

    def answer(self, which: int) -> None:
        answer = self.answers.pop(which)
        if isinstance(answer, Cached):
            self.tell(self.replica.learn(answer))
        else:
            self.replica.unlearn(("n", answer[0]), uid=answer[1])
            self.alive.discard(answer[1])

    def event(self) -> None:
        if self.seen < len(self.server.events):
            self.tell(self.replica.event(*self.server.events[self.seen]))
            self.seen += 1

    def begin_list(self) -> None:
        self.replica.begin_list()
        self.list = list(self.server.things.values())
        self.list_version, self.list_events = self.server.revision, len(self.server.events)

    def item(self, items: list[Cached]) -> None:
        if items:
            self.tell(self.replica.listed(items.pop(0)))
            return
        self.tell(self.replica.end_list(str(self.list_version)))
        self.seen, self.list = self.list_events, None

    def catch_up(self) -> None:
        while self.list is not None:
            self.item(self.list)
        while self.answers:
            self.answer(0)
        while self.seen < len(self.server.events):
            self.event()


STEPS = ("theirs", "ours", "they delete", "we delete", "answer", "event", "event", "list", "item", "item")
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("ab")), max_size=40)


LEFT_BEHIND = [
    ("ours", "b"), ("they delete", "b"), ("answer", "a"), ("item", "a"), ("theirs", "b"), ("list", "a"),
    ("we delete", "b"), ("answer", "a"),
]  # fmt: skip
"""A list names an object that we have deleted since, while an older one of its name is still here."""


@settings(max_examples=1000, deadline=None)
@example(LEFT_BEHIND)
@given(steps)
def test_in_the_end_it_is_what_the_server_has(steps: list[tuple[str, str]]) -> None:
    client = Client()
    client.begin_list()
    for what, name in steps:
        client.step(what, name)
    client.catch_up()
    assert {one.where[1]: one for one in client.replica.objects.all()} == client.server.things
    assert client.alive == {one.head.uid for one in client.server.things.values()}
