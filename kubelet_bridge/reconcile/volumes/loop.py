"""The disks' sync loop: ``sync(key)`` takes one disk as far as it can go now. Events carry only the key.

What it keeps in memory may be lost: how often a disk's tries have failed, and what its claim was told last.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.errors import ApiError, BridgeError, Forbidden, Invalid, Transient
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.volumeintent import VolumeKey
from kubelet_bridge.reconcile.ports import Clock
from kubelet_bridge.reconcile.volumes.actions import VolumePlan
from kubelet_bridge.reconcile.volumes.executor import VolumeExecutor
from kubelet_bridge.reconcile.volumes.planner import plan
from kubelet_bridge.reconcile.volumes.ports import NO_CDI, ClaimEventPort, ImagePort, StoragePort, VolumeIntentPort

log = structlog.get_logger(__name__)

_MAX_STEPS = 16
_LONGEST_BACKOFF = 30.0


class _Tries(Backoff):
    """The next delay of a disk that fails, and how often it has."""

    count = 0

    def again(self) -> float:
        self.count += 1
        return self.next()


class VolumeLoop:
    """Workers over a keyed queue. ``enqueue`` is all that anybody else needs.

    ``observe_bound`` is told of each claim that is bound, after how many seconds; ``observe_failure`` of each failure.
    """

    def __init__(
        self,
        storage: StoragePort,
        intents: VolumeIntentPort,
        events: ClaimEventPort,
        node_name: str,
        *,
        clock: Clock,
        images: ImagePort | None = None,
        workers: int = 8,
        resync: float = 15.0,
        observe_bound: Callable[[float], None] = lambda _: None,
        observe_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue: WorkQueue[VolumeKey] = WorkQueue()
        self._storage = storage
        self._intents = intents
        self._events = events
        self._node = node_name
        self._clock = clock
        self._executor = VolumeExecutor(storage, intents, events, clock, images, observe_bound)
        self._workers = workers
        self._resync = resync
        self._observe_failure = observe_failure
        self._tries: dict[VolumeKey, _Tries] = {}
        self._told: dict[VolumeKey, list[PodEvent]] = {}

    def enqueue(self, key: VolumeKey) -> None:
        """Something about this disk may have changed."""
        self.queue.add(key)

    async def run(self) -> None:
        """Work for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"volumes-{number}")
            group.create_task(self._resync_for_ever(), name="volumes-resync")

    def _keys(self) -> set[VolumeKey]:
        return {*self._storage.keys(), *(one.key for one in self._intents.live())}

    async def _resync_for_ever(self) -> None:
        while True:
            keys = self._keys()
            self._forget_all_but(keys)
            for key in keys - self._tries.keys():  # one that fails has its own time
                self.queue.add(key)
            await asyncio.sleep(self._resync)

    def _forget_all_but(self, keys: Iterable[VolumeKey]) -> None:
        known = {*keys}
        for key in self._tries.keys() - known:
            del self._tries[key]
        for key in self._told.keys() - known:
            del self._told[key]

    async def _work(self) -> None:
        while True:
            key, _ = await self.queue.get()
            try:
                with structlog.contextvars.bound_contextvars(claim=str(key), uid=key.uid):
                    again = await self._guarded(key)
            finally:
                self.queue.done(key)
            if again is not None:
                self.queue.add(key, delay=again)
            await asyncio.sleep(0)  # a quiet disk needs no I/O: one worker must let the others run

    async def _guarded(self, key: VolumeKey) -> float | None:
        """One sync; an error is logged and tried again, for ever, and never ends the loop."""
        try:
            return await self.sync(key)
        except BridgeError as error:
            delay = self._later(key, error)
            log.warning("disk not synced", reason=error.reason, error=str(error), retry_in=round(delay, 2))
            return delay
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            log.error("sync of a disk was cancelled from below")
            return self._later(key, None)
        except Exception:  # a fault of ours about one disk must not stop the others
            delay = self._later(key, None)
            log.exception("sync of a disk crashed", retry_in=round(delay, 2))
            return delay

    async def sync(self, key: VolumeKey) -> float | None:
        """Take ``key`` as far as it can go now; return when to look again (seconds), None when events will tell.

        Raises:
            BridgeError: a step failed; the claim's events say so, and the caller tries again.
        """
        try:
            planned = await self._walk(key)
        except BridgeError as error:
            if _is_for_users(error):
                self._say(key, [PodEvent(EventType.WARNING, "ProvisioningFailed", error.message)])
            raise
        if planned.failing:
            self._say(key, planned.notes)
            return self._later(key, None)
        self._tell(key, planned.notes)
        self._tries.pop(key, None)
        return planned.requeue_after

    def _tell(self, key: VolumeKey, notes: list[PodEvent]) -> None:
        """News only: a disk that stays as it is makes no events."""
        if notes and notes != self._told.get(key):
            self._told[key] = notes
            self._say(key, notes)

    def _say(self, key: VolumeKey, notes: list[PodEvent]) -> None:
        """On the claim that the disk serves now: a volume that was kept may have been given to another."""
        self._events.record_on_claim(self._storage.load(key, self._intents.get(key.uid)).subject, notes)

    async def _walk(self, key: VolumeKey) -> VolumePlan:
        intent = self._intents.get(key.uid)
        snapshot = self._storage.load(key, intent)
        tries = self._tries[key].count if key in self._tries else 0
        for _ in range(_MAX_STEPS):
            new_id = self._intents.new_id() if snapshot.intent is None else ""
            planned = plan(snapshot, self._node, new_id=new_id, tries=tries, now=self._clock())
            if planned.step is None:
                return planned
            changed = await self._executor.run(snapshot, planned.step)
            # What a write has changed is in the cache by now; an absence that was confirmed before it may be over.
            snapshot = changed or self._storage.load(key, self._intents.get(key.uid))
        return VolumePlan(requeue_after=0.0)

    def _later(self, key: VolumeKey, error: BridgeError | None) -> float:
        self._observe_failure()
        asked = error.retry_after if isinstance(error, Transient | ApiError) else None
        tries = self._tries.setdefault(key, _Tries(base=0.25, cap=_LONGEST_BACKOFF))
        return max(asked or 0.0, tries.again())


def _is_for_users(error: BridgeError) -> bool:
    """Whether whoever made the claim is to read of it: a refusal, or that CDI is not there.

    An API server that answers 5xx speaks for one of its webhooks, such as CDI's; one that is away says nothing.
    """
    answered = isinstance(error, ApiError) and error.status >= 500
    return answered or isinstance(error, Forbidden | Invalid) or error.reason == NO_CDI
