"""Takes one VM as far as it can go now: load what is known, fold in what is seen, plan one step, perform it, again."""

from collections.abc import Awaitable, Callable

import msgspec

from kubelet_bridge.errors import ApiError, BridgeError
from kubelet_bridge.model.meta import PodKey, vm_name
from kubelet_bridge.reconcile.actions import FinalizePod, Plan
from kubelet_bridge.reconcile.attendance import Attendance
from kubelet_bridge.reconcile.executor import Executor, World
from kubelet_bridge.reconcile.ports import Clock, ClusterPort, EventPort, GuestPort, IntentPort
from kubelet_bridge.translate.observe import observe
from kubelet_bridge.translate.podstatus import Problem

MAX_STEPS = 16

Decide = Callable[[World], Plan]


class Walk(msgspec.Struct, frozen=True):
    """How far it went: the world after the last step, the plan made of it, and the error if that step failed."""

    world: World
    planned: Plan
    error: BridgeError | None = None

    @property
    def problem(self) -> Problem | None:
        """What keeps the Pod from becoming a VM now."""
        return self.planned.problem if self.error is None else _problem(self.error)


class Walker:
    """One per sync loop; ``executor`` is for those who have a single step to perform."""

    def __init__(
        self, cluster: ClusterPort, intents: IntentPort, events: EventPort, guests: GuestPort, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._intents = intents
        self._attendance = Attendance(guests)
        self._clock = clock
        self.executor = Executor(cluster, intents, events, guests, clock)

    async def load(self, key: PodKey) -> World:
        """What is known of ``key``, a Pod's or a machine's."""
        intent = self._intents.get(key.uid)
        name = intent.vm_name if intent else vm_name(key)
        snapshot = await self._cluster.load(key, vm_name=name, promised=intent is not None)
        return World(snapshot).but(intent=intent, guest=self._attendance.guest(key.uid))

    async def walk(
        self, world: World, decide: Decide, *, before_end: Callable[[World], Awaitable[object]] | None = None
    ) -> Walk:
        """Perform what ``decide`` asks for until it asks for nothing; ``before_end`` is awaited before the Pod goes.

        Raises:
            BridgeError: the store takes no writes.
        """
        planned = Plan()
        for _ in range(MAX_STEPS):
            world = await self.observed(world)
            planned = decide(world)
            if planned.step is None:
                break
            if isinstance(planned.step, FinalizePod) and before_end is not None:
                await before_end(world)
            try:
                world = await self.executor.run(world, planned.step)
            except BridgeError as error:
                return Walk(world, planned, error)
        return Walk(world, planned)

    async def observed(self, world: World) -> World:
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


def _problem(error: BridgeError) -> Problem:
    return Problem("CreateContainerError", str(error) if not isinstance(error, ApiError) else error.message)
