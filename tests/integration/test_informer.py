"""List and watch against the real API server, over a network that fails in every way it can."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.kube import credentials, watch
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.informer import Cached, EventKind, Informer
from kubelet_bridge.model.resources import CONFIGMAPS, NAMESPACES
from tests.support.bridge import eventually
from tests.support.proxy import Proxy, proxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

ADDED, MODIFIED, DELETED = EventKind.ADDED, EventKind.MODIFIED, EventKind.DELETED


class Subject:
    """An informer of the ConfigMaps of one namespace behind a bad network, and hands that go round that network."""

    def __init__(self, near: Client, far: Client, network: Proxy, namespace: str) -> None:
        self.far, self.network, self.namespace = far, network, namespace
        self.told: list[tuple[EventKind, str, str]] = []
        self._near = near

    @asynccontextmanager
    async def watching(self, *, synced: bool = True, **settings: Any) -> AsyncIterator[Informer]:
        settings = {"label_selector": "test=yes", **settings}
        informer = Informer(self._near, CONFIGMAPS, namespace=self.namespace, **settings)
        informer.subscribe(self._note)
        task = asyncio.get_running_loop().create_task(informer.run())
        try:
            if synced:
                await eventually(lambda: _of(informer.connected), "the watch open")
            yield informer
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _note(self, kind: EventKind, cached: Cached) -> None:
        self.told.append((kind, cached.head.name, cached.head.uid))

    def told_of(self, name: str) -> list[EventKind]:
        return [kind for kind, about, _ in self.told if about == name]

    async def create(self, *names: str, label: str = "yes") -> list[str]:
        """Returns the uids."""
        bodies = [{"metadata": {"name": name, "labels": {"test": label}}, "data": {"n": "0"}} for name in names]
        made = [await self.far.create(CONFIGMAPS, self.namespace, body) for body in bodies]
        return [msgspec.json.decode(raw)["metadata"]["uid"] for raw in made]

    async def change(self, name: str) -> bytes:
        body = {"data": {"n": uuid.uuid4().hex}}
        return await self.far.patch(CONFIGMAPS, self.namespace, name, body, kind=PatchType.MERGE)

    async def delete(self, name: str) -> None:
        await self.far.delete(CONFIGMAPS, self.namespace, name)

    async def until(self, informer: Informer, names: set[str]) -> None:
        async def same() -> bool:
            return {one.head.name for one in informer.all()} == names

        await eventually(same, f"{names} in the cache")


async def _of(value: Any) -> Any:
    return value


async def _soon(check: Callable[[], object], what: str) -> None:
    await eventually(lambda: _of(check()), what)


@pytest.fixture
async def subject(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Subject]:
    name = f"informer-{uuid.uuid4().hex[:8]}"
    await admin.create(NAMESPACES, None, {"metadata": {"name": name}})
    try:
        async with (
            proxy(dev_cluster.layout.kubeconfig("admin"), tmp_path) as (network, kubeconfig),
            Client(await credentials.load(kubeconfig)) as near,
        ):
            yield Subject(near, admin, network, name)
    finally:
        await admin.delete(NAMESPACES, None, name)


async def test_what_was_there_and_what_comes(subject: Subject) -> None:
    await subject.create("before")
    async with subject.watching(
        indexers={"version": lambda cached: [cached.head.metadata.resource_version]}
    ) as informer:
        assert informer.synced
        await subject.create("after")
        await subject.create("unselected", label="no")
        changed = msgspec.json.decode(await subject.change("before"))["metadata"]["resourceVersion"]
        await subject.delete("after")
        await subject.until(informer, {"before"})
        assert subject.told_of("before") == [ADDED, MODIFIED]
        assert subject.told_of("after") == [ADDED, DELETED]
        assert [one.head.name for one in informer.by_index("version", changed)] == ["before"]
        assert len(informer) == 1


async def test_a_cut_watch_goes_on_where_it_was(subject: Subject) -> None:
    async with subject.watching() as informer:
        await subject.create("a", "b")
        await subject.until(informer, {"a", "b"})
        for name in ("c", "d", "e"):
            subject.network.cut()
            await subject.delete("a" if name == "c" else {"d": "b", "e": "c"}[name])
            await subject.create(name)
        await subject.until(informer, {"d", "e"})
        assert subject.told_of("c") == [ADDED, DELETED]
        assert subject.network.count("GET") == 1, "it was listed again"


async def test_it_tells_since_when_the_server_cannot_be_followed(subject: Subject) -> None:
    async with subject.watching() as informer:
        assert informer.stale_since is None
        subject.network.down = True
        subject.network.cut()
        await _soon(lambda: informer.stale_since is not None, "the cache stale")
        since, asked = informer.stale_since, len(subject.network.requests)
        await _soon(lambda: len(subject.network.requests) >= asked + 2, "more tries in vain")
        assert informer.stale_since == since
        subject.network.down = False
        await _soon(lambda: informer.stale_since is None, "the cache fresh again")


@pytest.mark.parametrize("as_event", [False, True], ids=["as status", "as event"])
async def test_a_version_that_has_expired(subject: Subject, *, as_event: bool) -> None:
    kept, _, replaced = await subject.create("kept", "gone", "replaced")
    async with subject.watching() as informer:
        subject.network.down = True
        subject.network.cut()
        await _soon(lambda: not informer.connected, "the watch broken")
        for name in ("gone", "replaced"):
            await subject.delete(name)
        successor, _ = await subject.create("replaced", "new")
        subject.told.clear()
        subject.network.gone_once, subject.network.gone_as_event = {"configmaps"}, as_event
        subject.network.down = False
        await subject.until(informer, {"kept", "replaced", "new"})
        await _soon(lambda: subject.told_of("gone"), "the end of the list")
        assert [(kind, uid) for kind, name, uid in subject.told if name == "replaced"] == [
            (DELETED, replaced), (ADDED, successor),
        ]  # fmt: skip
        assert (subject.told_of("gone"), subject.told_of("new")) == ([DELETED], [ADDED])
        assert subject.told_of("kept") == []
        assert {one.head.uid for one in informer.all()} >= {kept}


async def test_an_answer_to_a_write_is_seen_before_its_event(subject: Subject) -> None:
    await subject.create("a")
    async with subject.watching() as informer:
        subject.network.mute = True
        raw = await subject.change("a")
        assert informer.all() != [informer.learn(raw)]
        learned, sent = msgspec.json.decode(informer.all()[0].raw), msgspec.json.decode(raw)
        assert sent["metadata"].pop("managedFields")
        assert learned == sent
        assert subject.told_of("a") == [ADDED]
        subject.network.cut()
        subject.network.mute = False
        await _soon(lambda: subject.told_of("a") == [ADDED, MODIFIED], "its event")
        before = informer.all()
        older = msgspec.json.decode(raw)
        older["metadata"]["resourceVersion"] = "1"
        informer.learn(msgspec.json.encode(older))
        assert informer.all() == before


async def test_what_we_removed_is_gone_before_its_event(subject: Subject) -> None:
    (uid,) = await subject.create("a")
    async with subject.watching() as informer:
        subject.network.mute = True
        await subject.delete("a")
        informer.unlearn(subject.namespace, "a", uid=uid)
        assert informer.all() == []
        subject.network.cut()
        subject.network.mute = False
        await subject.create("a")
        await subject.until(informer, {"a"})
        assert subject.told_of("a") == [ADDED, ADDED]


async def test_bookmarks_keep_a_quiet_watch_young(subject: Subject) -> None:
    """Nothing matches, so without bookmarks the version would grow old until etcd forgets it."""
    async with subject.watching(label_selector="test=never", window=6) as informer:
        await subject.create("other")
        await subject.change("other")
        last = int(msgspec.json.decode(await subject.change("other"))["metadata"]["resourceVersion"])
        await _soon(lambda: int(informer.version) >= last, "a bookmark")
        assert (informer.all(), subject.told, subject.network.count("GET")) == ([], [], 1)


async def test_a_connection_that_died_without_a_word(subject: Subject) -> None:
    async with subject.watching(idle=1.5) as informer:
        subject.network.mute = True
        await subject.create("a")
        subject.network.mute = False
        await subject.until(informer, {"a"})


async def test_a_server_that_was_set_back(subject: Subject) -> None:
    """As after a restore of etcd: it knows no such version yet and says nothing, for as long as it takes."""
    async with subject.watching(window=4) as informer:
        informer._replica.version = "999999999"
        subject.network.cut()
        await subject.create("a")
        await subject.until(informer, {"a"})
        assert int(informer.version) < 999999999


async def test_watches_that_end_at_once_do_not_spin(subject: Subject) -> None:
    subject.network.short = True
    async with subject.watching(synced=False) as informer:
        await informer.wait_synced()
        await asyncio.sleep(3)
        assert 3 <= subject.network.count("WATCH") <= 12
        subject.network.short = False
        await subject.create("a")
        await subject.until(informer, {"a"})


async def test_a_list_in_many_pages(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE_SIZE", 3)
    names = [f"c{number}" for number in range(10)]
    await subject.create(*names)
    async with subject.watching() as informer:
        assert {one.head.name for one in informer.all()} == set(names)
        assert subject.network.count("GET") == 4


async def test_a_subscriber_that_fails_takes_nothing_from_the_others(subject: Subject) -> None:
    def fail(_kind: EventKind, _cached: Cached) -> None:
        raise ValueError("a fault of this subscriber")

    with structlog.testing.capture_logs() as logs:
        async with subject.watching() as informer:
            informer._handlers.insert(0, fail)
            await subject.create("a", "b")
            await subject.until(informer, {"a", "b"})
            await _soon(lambda: subject.told_of("b") == [ADDED], "the other subscriber told")
    assert [one["object"].rpartition("/")[2] for one in logs if one["log_level"] == "error"] == ["a", "b"]


@pytest.mark.parametrize(("text", "status"), [("<html>Sign in</html>", 200), ("{", 200), ("moved", 302), ("", 403)])
async def test_somebody_else_answers_for_a_while(subject: Subject, text: str, status: int) -> None:
    await subject.create("a")
    subject.network.instead = (text, status, {})
    async with subject.watching(synced=False) as informer:
        await _soon(lambda: len(subject.network.requests) >= 2, "a second try")
        assert not informer.synced
        subject.network.instead = None
        await subject.until(informer, {"a"})
        subject.network.instead = (text, status, {})
        subject.network.cut()
        await subject.create("b")
        asked = len(subject.network.requests)
        await _soon(lambda: len(subject.network.requests) >= asked + 2, "two more tries")
        subject.network.instead = None
        await subject.until(informer, {"a", "b"})


async def test_an_overloaded_server_is_given_the_time_it_asks_for(subject: Subject) -> None:
    subject.network.instead = ("Too many requests, please try again later.", 429, {"Retry-After": "3"})
    async with subject.watching(synced=False) as informer:
        await asyncio.sleep(2.5)
        assert len(subject.network.requests) == 1
        subject.network.instead = None
        await informer.wait_synced()
