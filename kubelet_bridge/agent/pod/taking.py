"""Taking over what there is: a new manifest, its volumes, and the runs that the driver knows."""

from __future__ import annotations

import asyncio
import logging

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Run, RunError
from kubelet_bridge.agent.pod import backoff
from kubelet_bridge.agent.pod.policy import members
from kubelet_bridge.agent.pod.record import Memory, lost
from kubelet_bridge.agent.pod.state import State
from kubelet_bridge.agent.pod.watching import Watcher
from kubelet_bridge.agent.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)


class Taker:
    """Keeps the state in step with the newest manifest.

    Attributes:
        taken: a manifest is being gone by.
        prepared: its volumes have been made ready, so containers may start.
    """

    def __init__(self, state: State, watcher: Watcher) -> None:
        self._state = state
        self._watcher = watcher
        self._offered: pb.PodManifest | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._found: set[str] = set()
        self.taken = False
        self.prepared = False

    def offer(self, manifest: pb.PodManifest) -> None:
        """The manifest to take next; an older one that was not taken yet is skipped."""
        self._offered = manifest
        self._state.changed()

    async def take(self) -> None:
        """Take the manifest that was offered last, if there is a new one."""
        manifest, self._offered = self._offered, None
        if manifest is None:
            return
        if manifest.boot != self._state.memory.boot or not self.taken:
            try:
                await self._find(manifest)
            except RunError as error:
                self._again(manifest, error)
                return
        self._drop_holds(manifest)
        self._state.manifest = manifest
        self.taken = True
        if self._preparing is not None:
            await tasks.end([self._preparing])
        self._preparing = tasks.start(self._prepare(manifest), "volumes")

    def fresh(self, run: Run) -> bool:
        """True once for each run that was found and not started by us."""
        if run.id not in self._found:
            return False
        self._found.discard(run.id)
        return True

    async def close(self) -> None:
        """Leave off preparing."""
        if self._preparing is not None:
            await tasks.end([self._preparing])

    def _again(self, manifest: pb.PodManifest, error: RunError) -> None:
        """Nothing may be started before it is known what runs: ask again in a while."""
        log.warning("cannot find out what runs: %s", error)

        async def later() -> None:
            await self._state.time.sleep(backoff.FIRST_SECONDS)
            if self._offered is None:
                self.offer(manifest)

        self._preparing = tasks.start(later(), "asking again")

    async def _find(self, manifest: pb.PodManifest) -> None:
        """Adopt the runs of this boot of the VM, and clear away those of others."""
        state = self._state
        known = await state.parts.driver.runs()
        await self._clear([run for run in known if run.boot != manifest.boot])
        if manifest.boot != state.memory.boot:
            state.runs.clear()
            state.remember(Memory(boot=manifest.boot))
            self.prepared = False
        state.manifest = manifest
        ours = sorted((run for run in known if run.boot == manifest.boot), key=lambda run: run.attempt)
        newest = {run.container: run for run in ours}
        for member in members(manifest):
            name = member.container.name
            record, run = state.memory.of(name), newest.get(name)
            if run is not None:
                self._watcher.adopt(member, run)
                self._found.add(run.id)
            if record.running and (run is None or run.attempt < record.attempt):
                state.record(name, lost(record, state.time.now()))
        await self._clear([run for run in ours if run is not newest[run.container]])

    async def _clear(self, runs: list[Run]) -> None:
        for run in runs:
            if run.exit is None:
                await self._state.parts.driver.stop(run, "", 0)
            await self._state.parts.driver.remove(run)

    def _drop_holds(self, manifest: pb.PodManifest) -> None:
        """A container with another image need not wait for what the old one has to wait for."""
        before = {member.container.name: member.container.image for member in members(self._state.manifest)}
        for member in members(manifest):
            name = member.container.name
            if name in before and before[name] != member.container.image:
                self._state.holds.pop(name, None)
                self._state.waiting.pop(name, None)

    async def _prepare(self, manifest: pb.PodManifest) -> None:
        """Make the volumes ready, again and again until that succeeds."""
        state, delay = self._state, 0.0
        while True:
            try:
                await state.parts.driver.prepare(manifest)
                break
            except RunError as error:
                self._trouble(error.reason, error.message)
            except Exception as error:
                log.exception("the volumes cannot be made ready")
                self._trouble("FailedMount", f"the agent has failed ({type(error).__name__}: {error}); see its log")
            state.changed()
            delay = backoff.longer(delay)
            await state.time.sleep(delay)
        state.trouble = ("", "")
        self.prepared = True
        state.changed()

    def _trouble(self, reason: str, message: str) -> None:
        state = self._state
        if state.trouble != (reason, message):
            state.teller.tell("", False, reason, message, warning=True)
        state.trouble = (reason, message)
