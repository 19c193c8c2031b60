"""Brings a Pod's containers to what its manifest says, and tells the bridge how they are."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Coroutine

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.link import Link, Logs
from kubelet_bridge.agent.pod import words
from kubelet_bridge.agent.pod.backoff import SECOND
from kubelet_bridge.agent.pod.decide import Action, Decision, Kill, Situation, Start, decide
from kubelet_bridge.agent.pod.killing import kill
from kubelet_bridge.agent.pod.memory import Keeper
from kubelet_bridge.agent.pod.policy import Member
from kubelet_bridge.agent.pod.ports import Hooks, Probing
from kubelet_bridge.agent.pod.record import Stop
from kubelet_bridge.agent.pod.report import Standing, report
from kubelet_bridge.agent.pod.starting import Starter
from kubelet_bridge.agent.pod.state import REAL_TIME, Parts, State, Time
from kubelet_bridge.agent.pod.taking import Taker
from kubelet_bridge.agent.pod.watching import Watcher
from kubelet_bridge.agent.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

# A machine that goes down does not wait longer than that beyond the grace.
LATE_SECONDS = 60.0


class Pod:
    """One Pod, from its first manifest until the agent ends.

    Containers outlive this object: ending ``run`` lets go of them, a new one finds them again.
    """

    def __init__(
        self,
        driver: Driver,
        link: Link,
        logs: Logs,
        probing: Probing,
        hooks: Hooks,
        *,
        memory: Keeper,
        boot_id: str,
        time: Time = REAL_TIME,
    ) -> None:
        """Nothing happens before ``run``.

        ``memory`` is a ``MemoryFile`` in the state directory; ``boot_id`` is the kernel's: a Pod that was stopped stays
        so until another boot.
        """
        self._state = State(Parts(driver, link, logs, probing, hooks), memory, time)
        self._boot_id = boot_id
        self._starter = Starter(self._state)
        self._watcher = Watcher(self._state)
        self._taker = Taker(self._state, self._watcher)
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._kills: dict[str, int] = {}  # when the kill that is under way uses force
        self._held: dict[str, int] = {}  # attempts whose back-off was told
        self._reported = b""
        self._over = asyncio.Event()
        self._remembering = asyncio.Event()

    def apply(self, manifest: pb.PodManifest) -> None:
        """Go by this manifest from now on; the newest one is the whole truth."""
        self._taker.offer(manifest)

    def run_of(self, container: str) -> Run | None:
        """The run of this container that goes on now, if one does."""
        run, record = self._state.runs.get(container), self._state.memory.of(container)
        return run if run is not None and record.running and record.run == run.id else None

    async def stop(self, grace: float, reason: str) -> None:
        """End all containers in order and start none before the next boot; returns when none runs, or a minute late.

        ``run`` must go on meanwhile, for it does the work. A second call can only shorten the grace.
        """
        await self._remembering.wait()
        memory = self._state.memory
        deadline = self._state.time.now() + int(grace * SECOND)
        if memory.stop is None or deadline < memory.stop.deadline:
            log.info("stopping the Pod within %.0f seconds: %s", grace, reason)
            self._state.remember(memory._replace(stop=Stop(deadline, reason, self._boot_id)))
        self._over.clear()
        self._state.changed()
        try:
            await asyncio.wait_for(self._over.wait(), grace + LATE_SECONDS)
        except asyncio.TimeoutError:
            log.error("the Pod has not stopped in time")

    async def run(self) -> None:
        """Work until cancelled."""
        await self._state.load()
        if self._state.memory.stop is not None and self._state.memory.stop.boot_id != self._boot_id:
            self._state.remember(self._state.memory._replace(stop=None))
        self._remembering.set()
        timer: asyncio.Task[None] | None = None
        try:
            while True:
                await self._taker.take()
                await self._state.save()
                decision = self._decide()
                self._tell(decision)
                if timer is not None:
                    await tasks.end([timer])
                timer = self._timer(decision)
                await self._state.news()
        finally:
            await tasks.end([*self._busy.values(), *([] if timer is None else [timer])])
            await self._watcher.close()
            await self._taker.close()

    def _decide(self) -> Decision:
        """Decide, and put in hand what is to be done."""
        state = self._state
        if not self._taker.taken:
            return Decision()
        if state.memory.stop is not None:
            self._interrupt(state.memory.stop.deadline)
        situation = Situation(
            state.manifest, state.memory, state.faults, set(self._busy), state.holds, state.time.now()
        )
        decision = decide(situation)
        for action in decision.actions:
            member = state.member(action.container)
            if member is not None and (isinstance(action, Kill) or self._taker.prepared):
                self._put_in_hand(member, action)
        self._finish_hooks()
        return decision

    def _put_in_hand(self, member: Member, action: Action) -> None:
        name = member.container.name
        run = self._state.runs.get(name)
        if isinstance(action, Start):
            self._work(name, self._start(member, action.attempt))
        elif run is not None:
            if action.replace:
                self._state.record(name, self._state.memory.of(name)._replace(replace=True))
            self._kill(member, run, action)

    def _kill(self, member: Member, run: Run, action: Kill) -> None:
        name = member.container.name
        self._kills[name] = self._state.time.now() + int(action.grace * SECOND)
        self._work(name, self._killed(member, run, action))

    async def _killed(self, member: Member, run: Run, action: Kill) -> None:
        try:
            await self._state.save()  # `replace` must not be forgotten once the container has ended
            await kill(self._state, member, run, action, lambda: self._turn(action), self._watcher.ending(run))
        finally:
            self._kills.pop(member.container.name, None)

    async def _turn(self, order: Kill) -> None:
        """Wait until those have ended that end before this one."""
        while True:
            runs = [self._state.runs[name] for name in order.after if self.run_of(name) is not None]
            waiting = {self._watcher.ending(run) for run in runs}
            waiting |= {self._busy[name] for name in order.after if name in self._busy}
            if not waiting:
                return
            await asyncio.wait(waiting)

    async def _start(self, member: Member, attempt: int) -> None:
        before = self._state.runs.get(member.container.name)
        run = await self._starter.start(member, attempt)
        if run is None:
            return
        self._watcher.adopt(member, run)
        if before is not None:
            await self._state.parts.driver.remove(before)
        await self._hook(member, run)

    async def _hook(self, member: Member, run: Run) -> None:
        if await self._starter.post_start(member, run):
            self._watcher.probe(member, run)
            return
        grace = float(self._state.manifest.termination_grace_seconds)
        order = Kill(member.container.name, grace, "FailedPostStartHook")
        await self._killed(member, run, order)

    def _finish_hooks(self) -> None:
        """Take up what an agent before us began: a hook that was not over, and probes."""
        for name, run in self._state.runs.items():
            member = self._state.member(name)
            if member is None or name in self._busy or self.run_of(name) is None:
                continue
            if not self._state.memory.of(name).hooked:
                self._work(name, self._hook(member, run))
            elif self._taker.fresh(run):
                self._watcher.probe(member, run)

    def _interrupt(self, deadline: int) -> None:
        """Give up starts that need not end, and kills that would take longer than is left now."""
        for name, task in self._busy.items():
            if name in self._kills:
                if self._kills[name] > deadline + SECOND:
                    task.cancel()
            elif self._starter.interruptible(name):
                task.cancel()

    def _work(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.start(work, f"container {name}")
        self._busy[name] = task
        task.add_done_callback(lambda task: self._worked(name, task))

    def _worked(self, name: str, task: asyncio.Task[None]) -> None:
        if self._busy.get(name) is task:
            del self._busy[name]
        if not task.cancelled() and task.exception() is not None:
            log.error("working on container %s failed", name, exc_info=task.exception())
            self._state.hold(name, 10, "RuntimeError", "the agent has failed; see its log")
        self._state.changed()

    def _tell(self, decision: Decision) -> None:
        """Report the whole state if anything of it is different, and events of back-offs that begin."""
        state = self._state
        if not self._taker.taken:
            return
        for name in decision.held:
            member, attempt = state.member(name), state.memory.of(name).attempt
            if member is not None and self._held.get(name) != attempt:
                self._held[name] = attempt
                state.tell(member, "BackOff", words.restart_back_off(state.manifest, name), warning=True)
        said = report(
            state.manifest, state.memory, Standing(state.waiting, decision.held, decision.finished, state.trouble)
        )
        content = said.SerializeToString(deterministic=True)
        if content != self._reported:
            self._reported = content
            state.parts.link.report(said)
        if state.memory.stop is not None and not self._busy and all(self.run_of(name) is None for name in state.runs):
            self._over.set()

    def _timer(self, decision: Decision) -> asyncio.Task[None] | None:
        if decision.wake_at is None:
            return None
        return tasks.start(self._later((decision.wake_at - self._state.time.now()) / SECOND), "back-off")

    async def _later(self, seconds: float) -> None:
        await self._state.time.sleep(max(0.0, seconds))
        self._state.changed()
