"""The loop: for one key, load what is known, decide, write down, do, report. Level-based: the key is all that travels.

Events only say which Pod to look at; a full resync says that for every Pod again and again, so a lost event costs
seconds, never correctness.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum

import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.errors import ApiError, BridgeError, Transient
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.reconcile.actions import Plan
from kubelet_bridge.reconcile.executor import World
from kubelet_bridge.reconcile.machines import Machines
from kubelet_bridge.reconcile.noguests import NoGuests
from kubelet_bridge.reconcile.planner import plan
from kubelet_bridge.reconcile.ports import Clock, ClusterPort, EventPort, GuestPort, IntentPort
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.tidings import failure, warnings
from kubelet_bridge.reconcile.walker import Walker
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.podstatus import Problem

log = structlog.get_logger(__name__)

_LONGEST_BACKOFF = 30.0
_LANE_FULL = 0.5
"""Seconds until a failing Pod asks again, while as many workers as may are busy with failing Pods."""
_RESYNC_CHUNK = 20


class SyncResult(StrEnum):
    """How one sync ended."""

    OK = "ok"
    RETRY = "retry"
    ERROR = "error"


Observer = Callable[[SyncResult, float, float], None]
"""Told of each sync: result, seconds it took, seconds its key had been due."""


class SyncLoop:
    """Workers over a keyed queue. ``enqueue`` is all that anybody else needs."""

    def __init__(
        self,
        cluster: ClusterPort,
        intents: IntentPort,
        events: EventPort,
        status: StatusManager,
        config: BridgeConfig,
        *,
        clock: Clock,
        guests: GuestPort | None = None,
        workers: int = 16,
        resync: float = 15.0,
        observe_sync: Observer | None = None,
    ) -> None:
        self.queue: WorkQueue[PodKey] = WorkQueue()
        self._cluster = cluster
        self._intents = intents
        self._events = events
        self._status = status
        self._config = config
        self._clock = clock
        self._walker = Walker(cluster, intents, events, guests or NoGuests(), clock)
        self._machines = Machines(cluster, intents, events, status, self._walker, config, clock)
        self._workers = workers
        self._resync = resync
        self._observe = observe_sync
        self._backoff: dict[PodKey, Backoff] = {}
        self._retrying = 0

    def enqueue(self, key: PodKey) -> None:
        """Something about this Pod, or a machine of it, may have changed."""
        self.queue.add(key.owner)

    def resync(self) -> None:
        """Look at every Pod now, also at those whose next try is not due yet: what failed may work again."""
        for key in self._keys():
            self.queue.add(key)

    def reconfigure(self, config: BridgeConfig) -> None:
        """Work by other settings from now on."""
        self._config = config
        self.resync()

    async def run(self) -> None:
        """Work for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"sync-{number}")
            group.create_task(self._resync_for_ever(), name="resync")

    def _keys(self) -> list[PodKey]:
        keys = {*self._cluster.keys()}
        keys |= {intent.key.owner for intent in self._intents.live()}
        return list(keys)

    async def _resync_for_ever(self) -> None:
        self.resync()
        while True:
            await asyncio.sleep(self._resync / 2)
            await self._resync_gently(self._resync / 2)

    async def _resync_gently(self, seconds: float) -> None:
        """Every Pod in the course of ``seconds``: a thousand at once would keep what has just happened waiting.

        One that is being tried again has its own time.
        """
        keys = self._keys()
        pause = seconds * _RESYNC_CHUNK / max(len(keys), _RESYNC_CHUNK)
        for start in range(0, max(len(keys), 1), _RESYNC_CHUNK):
            for key in keys[start : start + _RESYNC_CHUNK]:
                if key not in self._backoff:
                    self.queue.add(key)
            await asyncio.sleep(pause)

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            key, waited = await self.queue.get()
            start = clock()
            try:
                if self._must_wait(key):
                    self.queue.add(key, delay=_LANE_FULL)
                    continue
                with structlog.contextvars.bound_contextvars(pod=str(key), uid=key.uid):
                    result = await self._counted(key)
            finally:
                self.queue.done(key)
            if self._observe is not None:
                self._observe(result, clock() - start, waited)
            await asyncio.sleep(0)  # a quiet Pod needs no I/O: without this, one worker would not let anything else run

    def _must_wait(self, key: PodKey) -> bool:
        """Whether half of the workers are at failing Pods already, whose requests may take long: leave the others."""
        return key in self._backoff and self._retrying >= max(1, self._workers // 2)

    async def _counted(self, key: PodKey) -> SyncResult:
        retrying = key in self._backoff
        self._retrying += retrying
        try:
            return await self._guarded(key)
        finally:
            self._retrying -= retrying

    async def _guarded(self, key: PodKey) -> SyncResult:
        """One sync; an error is logged and tried again, for ever, and never ends the loop."""
        try:
            again = await self.sync(key)
        except BridgeError as error:
            delay = self._retry(key, error)
            log.warning("sync failed", reason=error.reason, error=str(error), retry_in=round(delay, 2))
            return SyncResult.RETRY
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Not we, but what we waited for was cancelled: passed on, it would end this worker without a word.
            log.error("sync was cancelled from below", retry_in=round(self._retry(key, None), 2))
            return SyncResult.ERROR
        except Exception:  # a fault of ours in one Pod's translation must not stop the others
            delay = self._retry(key, None)
            log.exception("sync crashed", retry_in=round(delay, 2))
            return SyncResult.ERROR
        if again is not None:
            self.queue.add(key, delay=again)
        return SyncResult.OK

    def _retry(self, key: PodKey, error: BridgeError | None) -> float:
        asked = error.retry_after if isinstance(error, Transient | ApiError) else None
        delay = max(asked or 0.0, self._longer(key))
        self.queue.add(key, delay=delay)
        return delay

    def _longer(self, key: PodKey) -> float:
        """The next delay of a Pod that fails; forgotten when a sync succeeds."""
        return self._backoff.setdefault(key, Backoff(base=0.25, cap=_LONGEST_BACKOFF)).next()

    async def sync(self, key: PodKey) -> float | None:
        """Take ``key`` as far as it can go now; return when to look again (seconds), None when events will tell.

        Raises:
            BridgeError: a step failed; the Pod's status says so, and the caller tries again.
        """
        world = await self._walker.load(key)
        if self._machines.concerns(world.snapshot):
            planned, held = await self._machines.walk(world)
        else:
            planned, held = await self._walk(world)
        again = self._again(key, planned)
        return again if held is None else min(held, again or held)

    async def _walk(self, world: World) -> tuple[Plan, float | None]:
        """A Pod that is one VM: what was planned last, and after how many seconds its status is due if it was held."""
        done = await self._walker.walk(world, self._plan, before_end=lambda last: self._report(last, None))
        snapshot = done.world.snapshot
        held = await self._report(done.world, done.problem)
        if done.error is not None:
            self._events.record(snapshot.key, failure(done.error, snapshot))
            raise done.error
        if done.problem is not None and snapshot.pod is not None:
            self._events.record(snapshot.key, warnings(done.planned))
        return done.planned, held

    def _plan(self, world: World) -> Plan:
        return plan(
            world.snapshot,
            self._config,
            new_id=self._intents.new_id() if world.snapshot.intent is None else "",
            vm_absent=world.vm_absent,
            now=self._clock(),
        )

    async def _report(self, world: World, problem: Problem | None) -> float | None:
        return await self._status.write(world.snapshot, problem, self._clock())

    def _again(self, key: PodKey, planned: Plan) -> float | None:
        if planned.problem is not None and planned.requeue_after is None:
            return self._longer(key)
        self._backoff.pop(key, None)
        return planned.requeue_after
