"""Events on Pods and claims: posted by a task of their own, aggregated so that one that fails floods nobody.

The same event again raises its ``count`` instead of making another object, and is written ever more rarely (1, 2, 4,
8 … or after five minutes), as client-go's correlator does (``client-go/tools/record/events_cache.go``).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import BridgeError, NotFound, Transient
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.meta import PodKey, short_hash
from kubelet_bridge.model.resources import EVENTS
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.volumeintent import VolumeKey

log = structlog.get_logger(__name__)

COMPONENT = "kubelet-bridge"
REMEMBERED = 4096
QUEUED = 1000
REPEAT_EVERY = 300.0
MESSAGE_LIMIT = 1024
TRIES = 12
"""As client-go's broadcaster: two minutes of an API server that does not answer, then the event is lost."""

_Subject = PodKey | VolumeKey
_Id = tuple[_Subject, str, str, str]


class _Seen(msgspec.Struct):
    name: str
    count: int
    written: int
    written_at: float


class EventRecorder:
    """Satisfies ``EventPort`` and ``ClaimEventPort`` of ``reconcile``; ``run`` does the posting."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        *,
        clock: Callable[[], datetime],
        dropped: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._node = node_name
        self._clock = clock
        self._dropped = dropped
        self._seen: OrderedDict[_Id, _Seen] = OrderedDict()
        self._queue: asyncio.Queue[tuple[_Subject, PodEvent, datetime]] = asyncio.Queue(QUEUED)

    def record(self, key: PodKey, events: Iterable[PodEvent]) -> None:
        """Post ``events`` on the Pod some time soon; when too many wait, the newest are dropped and counted."""
        self._enqueue(key.owner, events)

    def record_on_claim(self, key: VolumeKey, events: Iterable[PodEvent]) -> None:
        """The same for a claim."""
        self._enqueue(key, events)

    def _enqueue(self, subject: _Subject, events: Iterable[PodEvent]) -> None:
        for event in events:
            try:
                self._queue.put_nowait((subject, event, self._clock()))
            except asyncio.QueueFull:
                self._drop()

    async def run(self) -> None:
        """Post for ever. Ends only by cancellation."""
        while True:
            key, event, at = await self._queue.get()
            try:
                await self._persist(key, event, at)
            except BridgeError as error:
                log.debug("event not posted", about=str(key), reason=event.reason, error=str(error))
                self._drop()

    def _drop(self) -> None:
        if self._dropped is not None:
            self._dropped()

    async def _persist(self, key: _Subject, event: PodEvent, at: datetime) -> None:
        """Others wait meanwhile: they would have no better luck."""
        backoff = Backoff(base=0.5, cap=15.0)
        for _ in range(TRIES - 1):
            try:
                return await self._post(key, event, at)
            except Transient as error:
                await asyncio.sleep(max(backoff.next(), error.retry_after or 0.0))
        return await self._post(key, event, at)

    async def _post(self, key: _Subject, event: PodEvent, at: datetime) -> None:
        identity = (key, event.reason, event.field_path, event.message)
        now = asyncio.get_running_loop().time()
        if (seen := self._seen.get(identity)) is not None:
            self._seen.move_to_end(identity)
            if await self._repeated(key, seen, at, now):
                seen.count += 1
                return
            del self._seen[identity]
        name = f"{key.name[:200]}.{short_hash(f'{identity}{at.isoformat()}')}"
        await self._client.create(EVENTS, key.namespace, self._body(key, event, name, at))
        self._remember(identity, _Seen(name, 1, 1, now))

    async def _repeated(self, key: _Subject, seen: _Seen, at: datetime, now: float) -> bool:
        """Count one more; False when the event object is gone: they live for an hour."""
        count = seen.count + 1
        if count < 2 * seen.written and now - seen.written_at < REPEAT_EVERY:
            return True
        body = {"count": count, "lastTimestamp": _timestamp(at)}
        try:
            await self._client.patch(EVENTS, key.namespace, seen.name, body, kind=PatchType.MERGE)
        except NotFound:
            return False
        seen.written, seen.written_at = count, now
        return True

    def _remember(self, identity: _Id, seen: _Seen) -> None:
        self._seen[identity] = seen
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _body(self, key: _Subject, event: PodEvent, name: str, moment: datetime) -> dict[str, Any]:
        at = _timestamp(moment)
        kind = "PersistentVolumeClaim" if isinstance(key, VolumeKey) else "Pod"
        about = {"apiVersion": "v1", "kind": kind, "namespace": key.namespace, "name": key.name, "uid": key.uid}
        if event.field_path:
            about["fieldPath"] = event.field_path
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": key.namespace},
            "involvedObject": about, "type": event.type, "reason": event.reason,
            "message": event.message[:MESSAGE_LIMIT],
            "source": {"component": COMPONENT, "host": self._node}, "reportingComponent": COMPONENT,
            "reportingInstance": self._node, "firstTimestamp": at, "lastTimestamp": at, "count": 1,
        }  # fmt: skip


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
