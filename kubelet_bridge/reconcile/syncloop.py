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
from kubelet_bridge.model.meta import PodKey, vm_name
from kubelet_bridge.model.snapshot import EventType, PodEvent, Snapshot
from kubelet_bridge.reconcile.actions import FinalizePod, Plan
from kubelet_bridge.reconcile.attendance import Attendance
from kubelet_bridge.reconcile.executor import Executor, World
from kubelet_bridge.reconcile.noguests import NoGuests
from kubelet_bridge.reconcile.planner import plan
from kubelet_bridge.reconcile.ports import Clock, ClusterPort, EventPort, GuestPort, IntentPort
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.observe import observe
from kubelet_bridge.translate.podstatus import Problem

log = structlog.get_logger(__name__)

MAX_STEPS = 16
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
        guests = guests or NoGuests()
        self._attendance = Attendance(guests)
        self._executor = Executor(cluster, intents, events, guests, clock)
        self._workers = workers
        self._resync = resync
        self._observe = observe_sync
        self._backoff: dict[PodKey, Backoff] = {}
        self._retrying = 0

    def enqueue(self, key: PodKey) -> None:
        """Something about this Pod may have changed."""
        self.queue.add(key)

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
        keys |= {PodKey(intent.namespace, intent.name, intent.uid) for intent in self._intents.live()}
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
        world = World(await self._load(key))
        step_error: BridgeError | None = None
        planned = Plan()
        for _ in range(MAX_STEPS):
            world = await self._observed(world)
            planned = self._plan(world)
            if planned.step is None:
                break
            if isinstance(planned.step, FinalizePod):
                await self._report(world, None)
            try:
                world = await self._executor.run(world, planned.step)
            except BridgeError as error:
                step_error = error
                break
        problem = planned.problem if step_error is None else _problem(step_error)
        held = await self._report(world, problem)
        if step_error is not None:
            self._events.record(key, _failure(step_error, world.snapshot))
            raise step_error
        if planned.problem is not None and world.snapshot.pod is not None:
            self._events.record(key, _warnings(planned))
        again = self._again(key, planned)
        return again if held is None else min(held, again or held)

    async def _load(self, key: PodKey) -> Snapshot:
        intent = self._intents.get(key.uid)
        name = intent.vm_name if intent else vm_name(key)
        snapshot = await self._cluster.load(key, vm_name=name, promised=intent is not None)
        return World(snapshot).but(intent=intent, guest=self._attendance.guest(key.uid)).snapshot

    async def _observed(self, world: World) -> World:
        """Fold what the cluster shows into the row, before anything is decided from it."""
        snapshot = world.snapshot
        if snapshot.intent is None:
            self._attendance.forget(snapshot.key.uid)
            return world
        now = self._clock()
        seen = observe(snapshot.intent, snapshot, now)
        if seen != snapshot.intent:
            await self._intents.save(seen, reason="Observed", now=now)
        world = world.but(intent=seen)
        self._attendance.attend(world.snapshot)
        return world.but(guest=self._attendance.guest(snapshot.key.uid))

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


def _problem(error: BridgeError) -> Problem:
    return Problem("CreateContainerError", str(error) if not isinstance(error, ApiError) else error.message)


def _warnings(planned: Plan) -> list[PodEvent]:
    problem = planned.problem
    if problem is None or problem.reason == "ContainerCreating":  # waiting for a predecessor is no fault
        return planned.notes
    return [*planned.notes, PodEvent(EventType.WARNING, "Failed", f"Error: {problem.message}")]


def _failure(error: BridgeError, snapshot: Snapshot) -> list[PodEvent]:
    """What a user reads in ``kubectl describe pod`` when a step is refused; an API server that is away is no event.

    One that answers 5xx is: a webhook, such as KubeVirt's, may be what does not work.
    """
    answered = isinstance(error, ApiError) and error.status >= 500
    if snapshot.pod is None or (isinstance(error, Transient) and not answered):
        return []
    reason = "FailedDelete" if snapshot.pod.metadata.deletion_timestamp is not None else "Failed"
    return [PodEvent(EventType.WARNING, reason, f"Error: {error.message}")]
