"""A cache of one kind, kept by list and watch: each object is a decoded head and its raw bytes (less managedFields).

Level-based: a handler is told that something about an object changed and gets the newest state; two changes may arrive
as one. After a list, objects that are missing from it are reported as deleted; whether they really are gone is for the
reader to confirm (``reconcile`` asks with a GET before it acts on an absence).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import ApiError, ApiUnavailable, Gone
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.managedfields import without_managed_fields
from kubelet_bridge.kube.objectcache import Cached, Indexer
from kubelet_bridge.kube.replica import Change, Replica
from kubelet_bridge.kube.watch import IDLE, EventKind, Page, Query, pages, watch
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.model.resources import Resource

__all__ = ["Cached", "EventKind", "Handler", "Indexer", "Informer"]

log = structlog.get_logger(__name__)

Handler = Callable[[EventKind, Cached], None]

_HEAD = msgspec.json.Decoder(ObjectHead)
_WINDOW = 300.0
_STEADY = 10.0
_AT_ONCE = 50


class Informer:
    """Keeps one kind (within a namespace and selectors) and tells subscribers of changes.

    Args:
        window: after how many seconds the server is asked to end a watch, and the next one begins where it ended.
        idle: after how many seconds without a word, not even a bookmark, a connection counts as dead.

    Attributes:
        connected: whether a watch is open: what the cache holds is what there is, give or take a moment.
        stale_since: since when the server could not be followed, which is how old the cache is; None when it can be.
    """

    def __init__(
        self, client: Client, resource: Resource, *, namespace: str | None = None, label_selector: str = "",
        field_selector: str = "", indexers: Mapping[str, Indexer] | None = None,
        headers: Mapping[str, str] | None = None, window: float = _WINDOW, idle: float = IDLE,
    ) -> None:  # fmt: skip
        self.resource = resource
        self.connected = False
        self.stale_since: datetime | None = None
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._query = Query(
            resource=resource, namespace=namespace, headers=headers,
            selectors={key: value for key, value in selectors.items() if value},
        )  # fmt: skip
        self._client = client
        self._window, self._idle = window, idle
        self._replica = Replica(indexers)
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()

    def subscribe(self, handler: Handler) -> None:
        """Call ``handler`` at each change. It runs on the loop inside the watch: it must be quick and not raise."""
        self._handlers.append(handler)

    def get(self, namespace: str | None, name: str) -> Cached | None:
        """The object as last seen."""
        return self._replica.objects.get((namespace or "", name))

    def all(self) -> list[Cached]:
        """Every object as last seen."""
        return self._replica.objects.all()

    def by_index(self, index: str, value: str) -> list[Cached]:
        """The objects whose indexer named ``index`` gave ``value``, by name."""
        return self._replica.objects.by_index(index, value)

    def __len__(self) -> int:
        return len(self._replica.objects)

    @property
    def version(self) -> str:
        """The resourceVersion up to which everything has been seen; empty before the first list."""
        return self._replica.version

    def learn(self, raw: bytes) -> Cached:
        """Take in the answer to a write of ours, before the watch brings it: the next read sees what was written."""
        cached = _cached(raw)
        self._tell(self._replica.learn(cached))
        return cached

    def unlearn(self, namespace: str, name: str, *, uid: str) -> None:
        """Forget an object that the API server has just removed for us; no handler is told of it any more."""
        self._replica.unlearn((namespace, name), uid=uid)

    @property
    def synced(self) -> bool:
        """Whether a first list is in the cache."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once a first list is in the cache."""
        await self._synced.wait()

    async def run(self) -> None:
        """List and watch for ever. Ends only by cancellation.

        Every turn ends in a pause, which grows while turns are short: whatever the server does, nothing spins.
        """
        backoff = Backoff(base=0.2, cap=10.0)
        clock = asyncio.get_running_loop().time
        listed, pause = False, 0.0
        while True:
            start = clock()
            try:
                if not listed:
                    await self._relist()
                    listed = True
                listed = await self._follow()
                asked = 0.0
            except ApiError as error:
                self.stale_since = self.stale_since or datetime.now(UTC)
                listed = listed and _may_resume(error)
                asked = error.retry_after or 0.0
                self._complain(error, listed)
            finally:
                self.connected = False
            if clock() - start >= _STEADY:
                backoff.reset()
            pause = max(asked, backoff.next())
            await asyncio.sleep(pause)

    async def _relist(self) -> None:
        self._replica.begin_list()
        version = ""
        async for page in pages(self._client, self._query):
            version = page.version
            await self._take_page(page)
        self._tell(self._replica.end_list(version))
        self._synced.set()

    async def _take_page(self, page: Page) -> None:
        for number, item in enumerate(page.items):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # thousands of objects must not hold up what else is due
            if (cached := self._decode(bytes(item))) is not None:
                self._tell(self._replica.listed(cached))

    async def _follow(self) -> bool:
        """Watch until the server ends it. Whether the next watch may begin where this one ended.

        It may not when all that time not even a bookmark came: a server that was set back (etcd restored from a backup)
        says nothing until it has come as far again as we had.
        """
        heard = False
        clock = asyncio.get_running_loop().time
        start = clock()

        def silent() -> bool:
            return not heard and clock() - start >= 0.8 * min(self._idle, self._window)

        try:
            async with watch(
                self._client, self._query, resource_version=self._replica.version, window=self._window, idle=self._idle
            ) as events:
                self.connected, self.stale_since = True, None
                async for kind, raw in events:
                    heard = True
                    if (cached := self._decode(raw)) is not None:
                        self._tell(self._replica.event(kind, cached))
        except ApiUnavailable:
            if not silent():
                raise
        return not silent()

    def _decode(self, raw: bytes) -> Cached | None:
        try:
            return _cached(raw)
        except msgspec.DecodeError as error:  # one object that we do not understand must not hide all the others
            log.error("an object is left out", kind=self.resource.kind, error=str(error))
            return None

    def _tell(self, changes: Iterable[Change]) -> None:
        for kind, cached in changes:
            for handler in self._handlers:
                try:
                    handler(kind, cached)
                except Exception:  # a fault of one subscriber must not take the cache from all of them
                    log.exception("a subscriber failed", kind=self.resource.kind, object="/".join(cached.where))

    def _complain(self, error: ApiError, resumes: bool) -> None:
        level = log.info if isinstance(error, Gone) or resumes else log.warning
        level("watch broken", kind=self.resource.kind, error=str(error), next="resume" if resumes else "list")


def _cached(raw: bytes) -> Cached:
    slim = without_managed_fields(raw)
    return Cached(_HEAD.decode(slim), slim)


def _may_resume(error: ApiError) -> bool:
    """Whether the version we have may still be good; a server that cannot serve it need not say 410."""
    from_the_future = "Too large resource version" in error.message  # a 504: the server's history was set back
    return (error.status in (0, 401, 429) or error.status >= 500) and not from_the_future
