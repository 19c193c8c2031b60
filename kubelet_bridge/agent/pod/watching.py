"""Following runs: their logs, their probes, and how they end."""

from __future__ import annotations

import asyncio
import logging

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Exit, Run
from kubelet_bridge.agent.pod.decide import Fault
from kubelet_bridge.agent.pod.policy import Member
from kubelet_bridge.agent.pod.ports import Verdict
from kubelet_bridge.agent.pod.record import adopt, ended
from kubelet_bridge.agent.pod.state import State
from kubelet_bridge.agent.pod.tail import clip, log_tail
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

# An end is not told before its last log lines are on their way, but not for longer than that.
LOG_SECONDS = 10.0


class Watcher:
    """Knows every run that goes on, from its adoption to the recording of its end."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._watches: dict[str, asyncio.Task[None]] = {}

    def adopt(self, member: Member, run: Run) -> None:
        """Take a run as the container's newest one and follow it; harmless when that has been done."""
        state, name = self._state, member.container.name
        record = adopt(state.memory.of(name), run)
        if record is not state.memory.of(name):
            state.record(name, record)
        if record.run != run.id:
            return
        state.runs[name] = run
        if run.id not in self._watches and record.end is None:
            state.parts.logs.follow(name, run.attempt, run.log_path)
            self._watches[run.id] = tasks.start(self._watch(name, run), f"watch {name}")

    def probe(self, member: Member, run: Run) -> None:
        """Begin its probes; the hook is over."""
        record = self._state.memory.of(member.container.name)
        if record.run == run.id and record.running:
            parts = self._state.parts
            parts.probing.begin(self._state.manifest, member.container, run, record.started, self._told)

    def ending(self, run: Run) -> asyncio.Future[None]:
        """Done once the run's end is recorded."""
        watch = self._watches.get(run.id)
        if watch is not None:
            return watch
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def close(self) -> None:
        """Follow nothing any more."""
        await tasks.end(list(self._watches.values()))

    async def _watch(self, name: str, run: Run) -> None:
        state = self._state
        try:
            over = run.exit if run.exit is not None else await state.parts.driver.wait(run)
            state.parts.probing.end(run.id)
            try:
                await asyncio.wait_for(state.parts.logs.ended(name, run.attempt), LOG_SECONDS)
            except asyncio.TimeoutError:
                log.warning("the log of %s (%d) has not been read to its end", name, run.attempt)
            message = await self._message(name, run, over)
            state.record(name, ended(state.memory.of(name), run, over, message))
        except Exception:
            log.exception("following %s (%d) failed", name, run.attempt)
            raise
        finally:
            self._watches.pop(run.id, None)

    async def _message(self, name: str, run: Run, over: Exit) -> str:
        member = self._state.member(name)
        policy = None if member is None else member.container.termination_message_policy
        if not over.message and over.exit_code and policy == pb.TERMINATION_MESSAGE_POLICY_FALLBACK_TO_LOGS_ON_ERROR:
            return await in_thread(log_tail, run.log_path)
        return clip(over.message)

    def _told(self, verdict: Verdict) -> None:
        state, record = self._state, self._state.memory.of(verdict.container)
        member = state.member(verdict.container)
        if member is None or record.run != verdict.run or not record.running:
            return
        if verdict.kind == "readiness":
            state.record(verdict.container, record._replace(ready=verdict.passing))
        elif verdict.passing:
            if verdict.kind == "startup":
                state.record(verdict.container, record._replace(started=True))
        else:
            probe = member.container.startup if verdict.kind == "startup" else member.container.liveness
            grace = float(probe.termination_grace_seconds) if probe.HasField("termination_grace_seconds") else None
            state.faults[verdict.container] = Fault(verdict.run, verdict.kind, grace)
            state.changed()
