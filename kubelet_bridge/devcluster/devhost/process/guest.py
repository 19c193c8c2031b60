"""One guest: what happens to its first process becomes its state, what is asked of it becomes signals."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
import structlog

from kubelet_bridge.devcluster.devhost.process import launch
from kubelet_bridge.devcluster.devhost.process.console import ConsoleStream
from kubelet_bridge.devcluster.devhost.process.facts import guest_info
from kubelet_bridge.devcluster.devhost.process.places import Places
from kubelet_bridge.devcluster.devhost.process.usage import process_usage
from kubelet_bridge.devcluster.devhost.rfb import screen
from kubelet_bridge.devcluster.devhost.runtime import (
    ByteStream,
    Exit,
    GuestInfo,
    GuestSpec,
    GuestState,
    GuestUsage,
    Host,
)
from kubelet_bridge.devcluster.devhost.stateful import StatefulGuest
from kubelet_bridge.devcluster.processes import Process
from kubelet_bridge.errors import Terminal, Transient

log = structlog.get_logger(__name__)


class ProcessGuest(StatefulGuest):
    """A guest. ``ended`` is called with it when its first process has; ``settle`` then finds out what that means."""

    def __init__(self, spec: GuestSpec, places: Places, agent: str, host: Host) -> None:
        super().__init__(spec, lambda: host.changed(self))
        self._places = places
        self._agent_version = agent
        self._process: Process | None = None
        self._forced = Exit.CRASHED
        self._resetting = False
        self._thaw: asyncio.TimerHandle | None = None

    @property
    def migration_ports(self) -> Mapping[str, int]:
        """It cannot be sent."""
        return {}

    async def power_on(self, ended: Callable[["ProcessGuest"], None]) -> None:
        """Switch it on. Raises what ``launch.start`` does."""
        process = await asyncio.to_thread(launch.start, self._places, self._spec.hostname)
        started = self._state.started_at or datetime.now(UTC)
        await self.found(process, GuestState(started_at=started, booted=True), ended)
        if self._spec.paused:
            await self.pause()

    async def found(self, process: Process, state: GuestState, ended: Callable[["ProcessGuest"], None]) -> None:
        """It runs as ``process``: look after it."""
        self._process, self._forced, self._resetting = process, Exit.CRASHED, False
        self._set(state)
        if (descriptor := await asyncio.to_thread(launch.handle, process)) is None:
            ended(self)
            return
        loop = asyncio.get_running_loop()

        def readable() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            ended(self)

        loop.add_reader(descriptor, readable)

    def was(self, state: GuestState) -> None:
        """It ended while nobody was looking."""
        self._set(state)

    async def settle(self, ended: Callable[["ProcessGuest"], None]) -> None:
        """Its first process has ended: switch it on again after a reboot, or let it be over."""
        outcome = await asyncio.to_thread(self._places.ended_as)
        if self._resetting or (outcome == "reboot" and self._forced is not Exit.DESTROYED):
            try:
                await self.power_on(ended)
            except (Terminal, Transient) as error:
                log.warning("a guest did not come up again", guest=self._spec.name, error=error.message)
            else:
                return
        await self._over(Exit.SHUTDOWN if outcome == "shutdown" else self._forced)

    async def shutdown(self) -> None:
        """Press the power button: its agent stops the containers in order, then everything else is asked to end."""
        await self._send(signal.SIGTERM)

    async def kill(self) -> None:
        """Switch it off."""
        self._forced = Exit.DESTROYED
        await self._send(signal.SIGKILL)

    async def crash(self) -> None:
        """Let its first process die, and everything with it."""
        await self._send(signal.SIGKILL)

    async def reset(self) -> None:
        """Everything dies, and it boots again."""
        self._resetting = self._state.running
        await self._send(signal.SIGKILL)

    async def reboot(self) -> None:
        """As ``shutdown``, and then it boots again."""
        await self._send(signal.SIGINT)

    async def pause(self) -> None:
        """Stop every process."""
        if self._state.running and self._process is not None:
            await asyncio.to_thread(launch.send_all, self._process, signal.SIGSTOP)
            self._set(msgspec.structs.replace(self._state, paused=True))

    async def unpause(self) -> None:
        """Let them run."""
        if self._state.running and self._process is not None:
            await asyncio.to_thread(launch.send_all, self._process, signal.SIGCONT)
            self._set(msgspec.structs.replace(self._state, paused=False))

    async def freeze(self, thaw_after: float) -> None:
        """There is nothing to freeze; it is only said."""
        self._set(msgspec.structs.replace(self._state, frozen=True))
        if thaw_after > 0:
            self._thaw = asyncio.get_running_loop().call_later(thaw_after, self._thaw_now)

    async def thaw(self) -> None:
        """Undo that."""
        self._thaw_now()

    async def migrate(self, _address: str, _ports: Mapping[str, int], _secret: str) -> None:
        """Raises ``Transient``: processes cannot be sent."""
        raise Transient("guests of mode process cannot be migrated", reason="NotMigratable")

    async def console(self) -> ByteStream:
        """What its first process and its agent say."""
        return await asyncio.to_thread(ConsoleStream, self._places.console, lambda: self._state.exit is not None)

    async def vnc(self) -> ByteStream:
        """A screen with nothing on it."""
        return screen(self._spec.name)

    async def info(self) -> GuestInfo:
        """About this machine's operating system."""
        return await asyncio.to_thread(guest_info, self._spec.hostname, self._places, self._agent_version)

    async def usage(self) -> GuestUsage | None:
        """Of its processes, those included that were waited for."""
        if self._process is None or not self._state.running:
            return None
        return await asyncio.to_thread(process_usage, self._process.pid)

    async def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._state.exit is None:
            await asyncio.to_thread(launch.send, self._process, number)

    async def _over(self, reason: Exit) -> None:
        if self._thaw is not None:
            self._thaw.cancel()
        await asyncio.to_thread(self._places.remove)
        self._set(msgspec.structs.replace(self._state, exit=reason, paused=False, frozen=False))

    def _thaw_now(self) -> None:
        self._set(msgspec.structs.replace(self._state, frozen=False))
