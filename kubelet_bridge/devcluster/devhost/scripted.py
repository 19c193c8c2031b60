"""Mode ``none``: guests that are nothing but phases with delays, a scripted serial line and a one-picture screen."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime

import msgspec

from kubelet_bridge.devcluster.devhost import handover, hotplug
from kubelet_bridge.devcluster.devhost.rfb import screen
from kubelet_bridge.devcluster.devhost.runtime import (
    ByteStream,
    Exit,
    Filesystem,
    Guest,
    GuestInfo,
    GuestSpec,
    GuestState,
    Host,
)  # fmt: skip
from kubelet_bridge.devcluster.devhost.stateful import StatefulGuest
from kubelet_bridge.devcluster.devhost.streams import MemoryStream
from kubelet_bridge.devcluster.devhost.terminal import Terminal, Wish, boot_lines
from kubelet_bridge.errors import Transient

_GIB = 1 << 30


class Timings(msgspec.Struct, frozen=True):
    """Seconds.

    Attributes:
        start: from the launcher's being ready until the guest is powered on.
        boot: from then until its operating system is up.
        shutdown: from the power button until it is off.
        migrate: for its memory to be sent.
    """

    start: float = 0.0
    boot: float = 0.0
    shutdown: float = 0.0
    migrate: float = 0.5


class ScriptedGuest(StatefulGuest):
    """A guest that exists in name only."""

    def __init__(self, spec: GuestSpec, timings: Timings, host: Host) -> None:
        super().__init__(spec, lambda: host.changed(self))
        self._plugged: frozenset[str] = frozenset()
        self._timings = timings
        self._timer: asyncio.TimerHandle | None = None
        self._thaw: asyncio.TimerHandle | None = None
        self._terminal = Terminal(spec.hostname)
        self._consoles: set[MemoryStream] = set()
        self._incoming: handover.Incoming | None = None

    @property
    def migration_ports(self) -> Mapping[str, int]:
        """Where it waits to be sent."""
        return {} if self._incoming is None else {str(self._incoming.port): 0}

    def begin(self) -> None:
        """Power on, after the configured delay."""
        self._after(self._timings.start, self._power_on)

    def resume(self, state: GuestState) -> None:
        """Be in ``state``: found again after a restart of the host, or arrived from another one."""
        self._set(state)
        if not state.booted:
            self._after(self._timings.boot, self._boot)

    async def await_arrival(self, address: str, secret: str) -> None:
        """Listen for the guest that another host sends."""
        self._incoming = await handover.listen(address, secret, self._arrive)

    @property
    def plugged(self) -> frozenset[str]:
        """As it was told."""
        return self._plugged

    async def plug(self, vmi: bytes) -> None:
        """Believe that they are there."""
        self._plugged = hotplug.wanted(msgspec.json.decode(vmi))

    async def shutdown(self) -> None:
        """Press the power button. Before it runs at all there is nobody to hear it."""
        if self._state.running:
            self._after(self._timings.shutdown, lambda: self._end(Exit.SHUTDOWN))
        else:
            self._end(Exit.DESTROYED)

    async def kill(self) -> None:
        """Switch it off."""
        self._end(Exit.DESTROYED)

    async def crash(self) -> None:
        """Make it fail."""
        self._end(Exit.CRASHED)

    async def reset(self) -> None:
        """Boot again."""
        if self._state.running:
            self._print(b"\r\n")
            self._set(msgspec.structs.replace(self._state, booted=False, paused=False, frozen=False))
            self._power_up()

    async def reboot(self) -> None:
        """Boot again; without an operating system to shut down that is the same."""
        await self.reset()

    async def pause(self) -> None:
        """Stop."""
        if self._state.running:
            self._set(msgspec.structs.replace(self._state, paused=True))

    async def unpause(self) -> None:
        """Go on, with booting if it had not got further."""
        self._set(msgspec.structs.replace(self._state, paused=False))
        if self._state.running and not self._state.booted:
            self._after(self._timings.boot, self._boot)

    async def freeze(self, thaw_after: float) -> None:
        """Freeze, for so many seconds at most."""
        self._set(msgspec.structs.replace(self._state, frozen=True))
        if thaw_after > 0:
            self._thaw = asyncio.get_running_loop().call_later(thaw_after, self._thaw_now)

    async def thaw(self) -> None:
        """Undo ``freeze``."""
        self._thaw_now()

    async def migrate(self, address: str, ports: Mapping[str, int], secret: str) -> None:
        """Send the state after the configured delay."""
        await asyncio.sleep(self._timings.migrate)
        if not self._state.running:
            raise Transient("the guest ended during its migration", reason="GuestEnded")
        await handover.send(address, int(next(iter(ports))), secret, self._state)
        self._end(Exit.MIGRATED)

    async def console(self) -> ByteStream:
        """Its serial line."""
        stream = MemoryStream(self._typed, self._consoles.discard)
        if self._state.exit is None:
            self._consoles.add(stream)
        else:
            stream.end()
        return stream

    async def vnc(self) -> ByteStream:
        """Its screen."""
        return screen(self._spec.name)

    async def info(self) -> GuestInfo:
        """Invented, but always the same."""
        return GuestInfo(
            agent_version="8.2.0", hostname=self._spec.hostname, os_id="scripted", os_name="Scripted Linux",
            os_pretty_name="Scripted Linux 1.0", os_version="1.0", kernel_release="6.1.0-scripted",
            kernel_version="#1 SMP", machine="x86_64", timezone="UTC, 0",
            filesystems=(Filesystem("vda1", "/", "ext4", used=_GIB, total=10 * _GIB),),
        )  # fmt: skip

    def _power_on(self) -> None:
        self._set(GuestState(started_at=datetime.now(UTC), paused=self._spec.paused))
        self._power_up()

    def _power_up(self) -> None:
        for line in boot_lines(self._spec.hostname):
            self._print(line)
        self._after(self._timings.boot, self._boot)

    def _boot(self) -> None:
        if self._state.paused:
            return
        self._print(self._terminal.banner())
        self._set(msgspec.structs.replace(self._state, booted=True))

    def _arrive(self, state: GuestState) -> None:
        if self._incoming is not None:
            self._incoming.close()
        if self._state.exit is None:
            self.resume(state)

    def _end(self, reason: Exit) -> None:
        if self._state.exit is not None:
            return
        for timer in (self._timer, self._thaw):
            if timer is not None:
                timer.cancel()
        if self._incoming is not None:
            self._incoming.close()
        self._set(msgspec.structs.replace(self._state, exit=reason, paused=False, frozen=False))
        for console in list(self._consoles):
            console.end()
        self._consoles.clear()

    def _thaw_now(self) -> None:
        self._set(msgspec.structs.replace(self._state, frozen=False))

    def _typed(self, data: bytes) -> None:
        if not self._state.booted or self._state.paused:
            return
        output, wishes = self._terminal.feed(data)
        self._print(output)
        for wish in wishes:
            self._grant(wish)

    def _grant(self, wish: Wish) -> None:
        match wish:
            case Wish.POWEROFF:
                self._after(self._timings.shutdown, lambda: self._end(Exit.SHUTDOWN))
            case Wish.REBOOT:
                self._set(msgspec.structs.replace(self._state, booted=False))
                self._power_up()
            case Wish.PANIC:
                self._print(b"Kernel panic - not syncing: asked for at the console\r\n")
                self._end(Exit.CRASHED)

    def _print(self, data: bytes) -> None:
        for console in self._consoles:
            console.push(data)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """One thing is ahead of a guest at a time; a zero delay is no delay, not even of a loop turn."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds <= 0:
            action()
        else:
            self._timer = asyncio.get_running_loop().call_later(seconds, action)


class ScriptedRuntime:
    """Runs ``ScriptedGuest``s."""

    def __init__(self, timings: Timings, host: Host) -> None:
        self._timings = timings
        self._host = host

    async def run(self) -> None:
        """Nothing runs in the background but timers of the loop."""
        await asyncio.Event().wait()

    async def start(self, spec: GuestSpec) -> Guest:
        """Begin the phases."""
        guest = ScriptedGuest(spec, self._timings, self._host)
        guest.begin()
        return guest

    async def adopt(self, spec: GuestSpec, last: GuestState) -> Guest | None:
        """A scripted guest outlives its host's process: there is nothing of it that could have died."""
        guest = ScriptedGuest(spec, self._timings, self._host)
        guest.resume(last)
        return guest

    async def receive(self, spec: GuestSpec, address: str, secret: str) -> Guest:
        """Listen for it."""
        guest = ScriptedGuest(spec, self._timings, self._host)
        await guest.await_arrival(address, secret)
        return guest

    async def retain(self, uids: Collection[str]) -> None:
        """Nothing of a scripted guest could be left."""
