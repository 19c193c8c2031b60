"""Takes a Pod with a VM for each container as far as it can go now: its machines one after the other, then itself.

Everything is one sync of the Pod's key, so that no two decide about its machines at once. Each machine has a row of its
own that is committed before its VM is made, and the Pod's row is committed before the first of them: whatever is in the
cluster can be traced to a row, and whatever a row promises is looked for.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.machine import Machine, Role
from kubelet_bridge.model.meta import machine_key
from kubelet_bridge.model.snapshot import PodEvent, Snapshot
from kubelet_bridge.reconcile.actions import FinalizePod, Forget, Plan
from kubelet_bridge.reconcile.executor import World
from kubelet_bridge.reconcile.machineplanner import Stage, accept, due_in, is_gone, last_grace, plan_machine
from kubelet_bridge.reconcile.planner import plan
from kubelet_bridge.reconcile.ports import Clock, ClusterPort, EventPort, IntentPort
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.tidings import failure, warnings
from kubelet_bridge.reconcile.walker import Walk, Walker
from kubelet_bridge.translate import machinestatus, podevents
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.machinefate import conclude, lets_others_begin
from kubelet_bridge.translate.machines import is_wanted, machines, part, told, worded
from kubelet_bridge.translate.machinestatus import Part
from kubelet_bridge.translate.podstatus import Problem

_PATIENCE = 30.0
"""What is to be tried again is tried at least so often (seconds), whatever else the Pod waits for."""


class Trip(msgspec.Struct, frozen=True):
    """How far one machine went."""

    part: Part
    walk: Walk

    @property
    def snapshot(self) -> Snapshot:
        """The machine's world afterwards."""
        return self.walk.world.snapshot

    @property
    def problem(self) -> Problem | None:
        """What keeps it from being a VM, in words about the whole Pod."""
        found = self.walk.problem
        return None if found is None else Problem(found.reason, worded(self.snapshot, found.message))


class Machines:
    """One per sync loop."""

    def __init__(
        self, cluster: ClusterPort, intents: IntentPort, events: EventPort, status: StatusManager, walker: Walker,
        config: BridgeConfig, clock: Clock,
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._intents = intents
        self._events = events
        self._status = status
        self._walker = walker
        self._config = config
        self._clock = clock

    def concerns(self, snapshot: Snapshot) -> bool:
        """Whether the Pod has a VM for each container: as its row says, or, without one, the Pod or what there is."""
        if snapshot.intent is not None:
            return snapshot.intent.machines
        if snapshot.vm is not None:
            return False
        return (snapshot.pod is not None and is_wanted(snapshot.pod)) or self._left(snapshot)

    async def walk(self, world: World) -> tuple[Plan, float | None]:
        """What is waited for, and after how many seconds the status is due if it was held back.

        Raises:
            BridgeError: a step failed; the Pod's status says so.
        """
        world = await self._certain(world)
        pod = world.snapshot.pod
        if pod is None:
            self._status.forget(world.snapshot.key.uid)
            return await self._abandon(world), None
        if world.snapshot.intent is None:
            step = accept(
                world.snapshot, pod, self._config, new_id=self._intents.new_id(), left=self._left(world.snapshot),
                now=self._clock(),
            )  # fmt: skip
            if step is None:
                return Plan(), None
            world = await self._walker.executor.run(world, step)
        return await self._live(world, pod)

    def _left(self, snapshot: Snapshot) -> bool:
        key = snapshot.key
        return bool(self._cluster.containers(key) or self._intents.machines(key.uid))

    async def _certain(self, world: World) -> World:
        """A Pod without a row that is not in the cache: with rows of its machines there, a GET has to say so."""
        snapshot = world.snapshot
        if snapshot.pod is not None or snapshot.intent is not None:
            return world
        found = await self._cluster.load(snapshot.key, vm_name="", promised=True)
        return world.but(pod=found.pod)

    async def _live(self, world: World, pod: Pod) -> tuple[Plan, float | None]:
        while True:
            trips = await self._round(world, pod)
            before, own = _row(world), await self._concluded(world, pod, trips)
            world = world.but(intent=own)
            if own.outcome == before.outcome:  # else those that are left end with it
                break
        gone = pod.metadata.deletion_timestamp is not None and all(is_gone(trip.snapshot) for trip in trips)
        held = await self._report(world, pod, trips, gone=gone)
        self._tell(world, trips)
        if gone:
            world = await self._walker.executor.run(world, FinalizePod())
            return await self._abandon(world), None
        return _waiting(trips, due_in(own, pod, self._clock())), held

    async def _round(self, world: World, pod: Pod) -> list[Trip]:
        """Each machine once: in the order in which they begin, or, when the Pod ends, the other way round."""
        deleting = pod.metadata.deletion_timestamp is not None
        ending, blocked = deleting or bool(_row(world).outcome), False
        every, trips = machines(pod), dict[str, Trip]()
        for machine in reversed(every) if ending else every:
            stage = self._stage(world, machine, ending=ending, blocked=blocked)
            trip = await self._go(world, pod, machine, stage)
            trips[machine.container] = trip
            if deleting:
                blocked = blocked or not is_gone(trip.snapshot)
            elif ending:
                blocked = blocked or trip.part.runs
            else:
                blocked = blocked or not lets_others_begin(machine, trip.snapshot.intent, trip.part.container)
        return [trips[machine.container] for machine in every]

    def _stage(self, world: World, machine: Machine, *, ending: bool, blocked: bool) -> Stage:
        """What has begun goes on, should a sidecar before it be started again; at the end, only sidecars wait."""
        if ending:
            return Stage.WAITING if blocked and machine.role is Role.SIDECAR else Stage.ENDING
        key = machine_key(world.snapshot.key, machine.container)
        return Stage.WAITING if blocked and self._intents.get(key.uid) is None else Stage.LIVE

    async def _go(self, world: World, pod: Pod, machine: Machine, stage: Stage) -> Trip:
        own, now = _row(world), self._clock()
        apart = part(pod, machine.container)
        found = await self._walker.load(machine_key(world.snapshot.key, machine.container))
        seen = found.but(pod=None if apart is None else _seen(apart[0], machine, stage, now), machine=machine)

        def decide(of: World) -> Plan:
            return plan_machine(
                of.snapshot, own, self._config, stage, vm_absent=of.vm_absent, now=now,
                new_id=self._intents.new_id() if of.snapshot.intent is None else "",
            )  # fmt: skip

        walk = await self._walker.walk(seen, decide)
        snapshot = walk.world.snapshot
        trip = Trip(Part(machine, snapshot), walk)
        if snapshot.intent is None:
            return trip
        return Trip(Part(machine, snapshot, self._status.wanted(snapshot, trip.problem, now)), walk)

    async def _concluded(self, world: World, pod: Pod, trips: Sequence[Trip]) -> Intent:
        own = _row(world)
        now = self._clock().replace(microsecond=0)
        rows = {trip.part.machine.container: row for trip in trips if (row := trip.snapshot.intent) is not None}
        after = conclude(own, pod, rows, now)
        if after != own:
            await self._intents.save(after, reason="Observed", now=now)
        return after

    async def _report(self, world: World, pod: Pod, trips: Sequence[Trip], *, gone: bool) -> float | None:
        now = self._clock()
        parts = [trip.part for trip in trips]
        wanted = machinestatus.build(pod, _row(world), parts, host_ip=self._status.host_ip, gone=gone, now=now)
        return await self._status.bring(world.snapshot, wanted, now, lambda: list(dict.fromkeys(_events(parts))))

    def _tell(self, world: World, trips: Sequence[Trip]) -> None:
        """What went wrong, as events.

        Raises:
            BridgeError: the first of them that was a step.
        """
        key = world.snapshot.key
        for trip in trips:
            if trip.walk.error is not None:
                self._events.record(key, told(trip.snapshot, failure(trip.walk.error, trip.snapshot)))
            elif trip.problem is not None and trip.snapshot.pod is not None:
                self._events.record(key, told(trip.snapshot, warnings(trip.walk.planned)))
        if (error := next((trip.walk.error for trip in trips if trip.walk.error is not None), None)) is not None:
            raise error

    async def _abandon(self, world: World) -> Plan:
        """The Pod is gone: whatever runs for it goes too; its own row last, since it is what leads to the others."""
        key = world.snapshot.key
        containers = self._cluster.containers(key) | {row.container for row in self._intents.machines(key.uid)}
        walks = [await self._take_down(world, container) for container in sorted(containers)]
        if (error := next((one.error for one in walks if one.error is not None), None)) is not None:
            raise error
        if world.snapshot.intent is not None and not self._left(world.snapshot):
            await self._walker.executor.run(world, Forget("PodGone"))
        return Plan(requeue_after=min((one for walk in walks if (one := walk.planned.requeue_after)), default=None))

    async def _take_down(self, world: World, container: str) -> Walk:
        found = (await self._walker.load(machine_key(world.snapshot.key, container))).but(pod=None)

        def decide(of: World) -> Plan:
            return plan(of.snapshot, self._config, new_id="", vm_absent=of.vm_absent, now=self._clock())

        return await self._walker.walk(found, decide)


def _row(world: World) -> Intent:
    if world.snapshot.intent is None:
        raise ValueError(f"{world.snapshot.key} was not accepted")
    return world.snapshot.intent


def _seen(apart: Pod, machine: Machine, stage: Stage, now: datetime) -> Pod:
    """The Pod as one machine sees it: it is not being deleted before it is the machine's turn."""
    if stage is Stage.WAITING:
        metadata = msgspec.structs.replace(
            apart.metadata, deletion_timestamp=None, deletion_grace_period_seconds=None
        )  # fmt: skip
        return msgspec.structs.replace(apart, metadata=metadata)
    return last_grace(apart, now) if machine.role is Role.SIDECAR else apart


def _events(parts: Sequence[Part]) -> Iterator[PodEvent]:
    for one in parts:
        if one.status is not None and one.snapshot.pod is not None:
            before = one.snapshot.pod.status
            yield from told(one.snapshot, podevents.events(before, one.status, one.snapshot))


def _waiting(trips: Sequence[Trip], due: float | None) -> Plan:
    """What all of them wait for: the first problem, and the first moment at which to look again."""
    planned = [trip.walk.planned for trip in trips]
    moments = [one.requeue_after for one in planned if one.requeue_after is not None] + ([due] if due else [])
    soonest = min(moments, default=None)
    problem = next((trip.problem for trip in trips if trip.problem is not None), None)
    unbound = any(one.problem is not None and one.requeue_after is None for one in planned)
    if unbound and soonest is not None and soonest > _PATIENCE:
        soonest = None  # tried again by and by
    return Plan(problem=problem, requeue_after=soonest)
