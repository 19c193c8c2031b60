"""One guest in QEMU: what happens to the machine becomes its state, what is asked of it becomes QMP commands."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from kubelet_bridge.devcluster.devhost.qemu import disks, qmp, states, vmispec
from kubelet_bridge.devcluster.devhost.qemu.agent import Agent
from kubelet_bridge.devcluster.devhost.qemu.expansion import Expander
from kubelet_bridge.devcluster.devhost.qemu.instance import Instance
from kubelet_bridge.devcluster.devhost.qemu.plugger import Plugger
from kubelet_bridge.devcluster.devhost.qemu.serial import SerialLine, SocketStream
from kubelet_bridge.devcluster.devhost.runtime import ByteStream, Exit, GuestInfo, GuestSpec, GuestState, Host
from kubelet_bridge.devcluster.devhost.stateful import StatefulGuest
from kubelet_bridge.errors import Transient

log = structlog.get_logger(__name__)

_TURN_SECONDS = 3.0
"""Between two looks at the guest, and two presses of the power button (as virt-launcher repeats it)."""
_INFO_TURNS = 7
_CONNECT_SECONDS = 20.0
_MIGRATION_POLL = 0.2


class QemuGuest(StatefulGuest):
    """A guest. ``run`` looks after it for as long as it lasts."""

    def __init__(self, spec: GuestSpec, instance: Instance, host: Host, started_at: datetime | None = None) -> None:
        super().__init__(spec, lambda: host.changed(self))
        self._instance = instance
        self._started_at = started_at
        self._qmp: qmp.Connection | None = None
        self._serial = SerialLine()
        self._agent = Agent(instance.sockets / "agent")
        self._agent_open = False
        self._info: GuestInfo | None = None
        self._thaw: asyncio.TimerHandle | None = None
        self._pressed = False
        self._sending = False
        self._leaving = False
        self._wake = asyncio.Event()
        self._ports: dict[str, int] = {}
        self._plugger = Plugger(self._execute, host)
        self._expander = Expander(self._execute, host)

    @property
    def migration_ports(self) -> Mapping[str, int]:
        """Not empty while it waits to be sent; the number is no port: both hosts are on one machine (``Instance``)."""
        return self._ports

    async def connect(self) -> None:
        """Reach its QMP socket and serial line, once QEMU has made them.

        Raises:
            Transient: QEMU has ended; the message is what it said last.
        """
        async with asyncio.timeout(_CONNECT_SECONDS):
            while self._qmp is None:
                try:
                    self._qmp = await qmp.connect(self._instance.sockets / "qmp", self._event, self._lost)
                except OSError:
                    if not await asyncio.to_thread(self._instance.alive):
                        words = await asyncio.to_thread(self._instance.last_words)
                        raise Transient(f"QEMU ended: {words}", reason="QemuEnded") from None
                    await asyncio.sleep(0.02)
        await self._qmp.execute("qmp_capabilities")
        await self._serial.connect(self._instance.sockets / "serial")

    async def power_on(self) -> None:
        """Begin to run, unless it is to begin paused."""
        if self._spec.paused:
            self._set(GuestState(started_at=datetime.now(UTC), paused=True))
        else:
            await self._execute("cont")

    async def await_arrival(self) -> None:
        """Be told when another host's guest has come over."""
        capability = {"capability": "events", "state": True}
        await self._execute("migrate-set-capabilities", {"capabilities": [capability]})
        self._ports = {"0": 0}

    async def rediscover(self) -> None:
        """Find out how it is now: an earlier process of this host has lost sight of it."""
        status = str((await self._execute("query-status"))["status"])
        for device in await self._execute("query-chardev"):
            if device["label"] == "agent":
                self._agent_open = bool(device["frontend-open"])
        cold = disks.drives(vmispec.decode(self._spec.vmi))
        await self._plugger.rediscover(frozenset(drive.name for drive in cold))
        self._state = states.found(status, self._started_at or datetime.now(UTC))
        if self._agent_open and self._state.running and not self._state.paused:
            await self._ask_agent()

    async def run(self) -> None:
        """Look after it until it has ended and nothing of it is left. Cancelled, it leaves the machine running."""
        turn = 0
        try:
            while self._state.exit is None:
                await self._look(turn)
                turn += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TURN_SECONDS):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            self._leaving = True
            self._hang_up()
        moved = self._state.exit is Exit.MIGRATED
        await asyncio.to_thread(self._instance.remove, disks=not moved)

    async def shutdown(self) -> None:
        """Press the power button, again and again. Before it runs at all there is nobody to hear it."""
        if not self._state.running:
            await self.kill()
            return
        self._pressed = True
        self._wake.set()

    async def kill(self) -> None:
        """Switch it off."""
        self._end(Exit.DESTROYED)
        await asyncio.to_thread(self._instance.stop)

    async def crash(self) -> None:
        """Take QEMU away from under it."""
        self._end(Exit.CRASHED)
        await asyncio.to_thread(self._instance.stop, 0.0)

    async def reset(self) -> None:
        """Press the reset button."""
        if self._state.running:
            await self._execute("system_reset")

    async def reboot(self) -> None:
        """Ask its operating system by the guest agent; without one that is the reset button."""
        if not self._state.booted:
            await self.reset()
        elif self._state.running:
            await self._agent.reboot()

    async def pause(self) -> None:
        """Stop its processors."""
        if self._state.running:
            await self._execute("stop")

    async def unpause(self) -> None:
        """Let them run."""
        if self._state.running:
            await self._execute("cont")

    async def freeze(self, thaw_after: float) -> None:
        """Freeze its filesystems by the guest agent. Raises ``Transient`` when there is none."""
        await self._agent.freeze()
        self._set(msgspec.structs.replace(self._state, frozen=True))
        if thaw_after > 0:
            self._thaw = asyncio.get_running_loop().call_later(thaw_after, self._wake.set)

    async def thaw(self) -> None:
        """Undo that."""
        if self._state.frozen:
            await self._agent.thaw()
            self._thaw = None
            self._set(msgspec.structs.replace(self._state, frozen=False))

    @property
    def plugged(self) -> frozenset[str]:
        """The disks that came later."""
        return self._plugger.names

    async def plug(self, vmi: bytes) -> None:
        """Unplug first, then plug in, one disk after the other; and let disks grow with their claims."""
        await self._plugger.follow(vmi)
        await self._expander.follow(vmi, self._plugger.names)

    async def migrate(self, _address: str, _ports: Mapping[str, int], secret: str) -> None:
        """Send memory and devices; the disks are the same files for both ends.

        Raises:
            Transient: it could not be sent; with disks that came later it never can be.
        """
        if self._plugger.names:
            raise Transient("mode qemu cannot move a guest with disks that were plugged in", reason="CannotMigrate")
        self._sending = True
        try:
            await self._execute("migrate", {"uri": f"unix:{self._instance.incoming(secret)}"})
            status = await self._migrated()
        except asyncio.CancelledError:
            await self._execute("migrate_cancel")
            raise
        finally:
            self._sending = False
        if status != "completed":
            raise Transient(f"migration {status}", reason="MigrationFailed")
        self._end(Exit.MIGRATED)

    async def console(self) -> ByteStream:
        """Its serial line."""
        return self._serial.attach()

    async def vnc(self) -> ByteStream:
        """Its screen. Raises ``Transient`` when it has none."""
        try:
            return SocketStream(*await asyncio.open_unix_connection(str(self._instance.sockets / "vnc")))
        except OSError as error:
            raise Transient(f"no screen: {error}", reason="NoScreen") from error

    async def info(self) -> GuestInfo:
        """What its agent said last. Raises ``Transient`` when it has said nothing."""
        if self._info is None:
            raise Transient("the guest agent has not answered", reason="AgentNotConnected")
        return self._info

    async def _execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        if self._qmp is None:
            raise Transient("the machine cannot be reached", reason="ConnectionLost")
        return await self._qmp.execute(command, arguments)

    async def _migrated(self) -> str:
        """The last status of a migration that was begun, when it has come to it."""
        while True:
            status = str((await self._execute("query-migrate")).get("status", "none"))
            if status not in states.MIGRATING:
                return status
            await asyncio.sleep(_MIGRATION_POLL)

    async def _look(self, turn: int) -> None:
        """One round: the connection, the power button, the agent."""
        try:
            if self._qmp is None:
                await self._reconnect()
            if self._pressed and self._state.running:
                await self._execute("system_powerdown")
            if self._state.frozen and self._thaw is not None and self._thaw.when() <= asyncio.get_running_loop().time():
                await self.thaw()
            if self._agent_open and self._state.running and (not self._state.booted or turn % _INFO_TURNS == 0):
                await self._ask_agent()
        except (Transient, OSError) as error:
            log.debug("guest not reached", guest=self._spec.name, error=str(error))

    async def _reconnect(self) -> None:
        """QMP is gone: with its process, or after a command without a reply."""
        if not await asyncio.to_thread(self._instance.alive):
            self._end(Exit.CRASHED)
            return
        self._qmp = await qmp.connect(self._instance.sockets / "qmp", self._event, self._lost)
        await self._qmp.execute("qmp_capabilities")

    async def _ask_agent(self) -> None:
        if self._state.frozen or self._state.paused:
            return
        try:
            self._info = await self._agent.info()
        except Transient as error:
            log.debug("guest agent", guest=self._spec.name, error=str(error))
            self._info = None
        self._set(msgspec.structs.replace(self._state, booted=self._info is not None))

    def _event(self, name: str, data: dict[str, Any]) -> None:
        """QEMU says that something has happened."""
        if name == "DEVICE_DELETED":
            self._plugger.device_deleted(str(data.get("device", "")))
        if name == "VSERPORT_CHANGE":
            self._agent_open = bool(data.get("open"))
            self._wake.set()
        if name == "MIGRATION" and data.get("status") == "completed" and self._ports:
            self._arrived()
        elif self._sending and name == "STOP":
            return
        self._set(states.after(self._state, name, data, self._started_at or datetime.now(UTC)))
        if not self._state.booted or not self._agent_open:
            self._info = None
        if self._state.exit is not None:
            self._wake.set()

    def _arrived(self) -> None:
        """It is here. Running is told by another event; one that was paused on the way is still so."""
        self._ports = {}
        if not self._state.running:
            self._set(GuestState(started_at=self._started_at or datetime.now(UTC), paused=True))

    def _lost(self) -> None:
        self._qmp = None
        if not self._leaving:
            self._wake.set()

    def _end(self, reason: Exit) -> None:
        if self._state.exit is None:
            self._set(msgspec.structs.replace(self._state, exit=reason, paused=False, frozen=False))
            self._wake.set()

    def _hang_up(self) -> None:
        if self._thaw is not None:
            self._thaw.cancel()
        for line in (self._qmp, self._serial, self._agent):
            if line is not None:
                line.close()
