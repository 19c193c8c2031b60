"""Plugs disks into one running machine and unplugs them, and knows which ones it has."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost import hotplug
from kubelet_bridge.devcluster.devhost.qemu import disks, plugging, storage, vmispec
from kubelet_bridge.devcluster.devhost.qemu.disks import Drive
from kubelet_bridge.devcluster.devhost.qemu.qmp import CommandFailed
from kubelet_bridge.devcluster.devhost.runtime import Host
from kubelet_bridge.errors import Terminal, Transient

Execute = Callable[[str, dict[str, Any] | None], Awaitable[Any]]

_UNPLUG_SECONDS = 10.0
"""A guest takes a disk from its bus by itself; one that has not booted does not."""


class Plugger:
    """The disks of one machine that came after it was started."""

    def __init__(self, execute: Execute, host: Host) -> None:
        self._execute = execute
        self._host = host
        self._names: frozenset[str] = frozenset()
        self._gone: dict[str, asyncio.Event] = {}

    @property
    def names(self) -> frozenset[str]:
        """The disks, by name."""
        return self._names

    async def rediscover(self, cold: frozenset[str]) -> None:
        """Find out what an earlier process of the host plugged in; ``cold``: what the machine was started with."""
        found = await self._execute("qom-list", {"path": plugging.PERIPHERALS})
        disks = {plugging.disk_of(str(entry["name"])) for entry in found}
        self._names = frozenset(name for name in disks if name is not None) - cold

    async def follow(self, vmi: bytes) -> None:
        """Unplug what the VirtualMachineInstance has no more, then plug in what is here, one disk after the other.

        Raises:
            Terminal: a disk cannot be plugged in; the message says why.
            Transient: the guest does not let a disk go, or QEMU refuses.
        """
        wanted = hotplug.wanted(msgspec.json.decode(vmi))
        for name in sorted(self._names - wanted):
            await self.unplug(name)
        decoded = vmispec.decode(vmi)
        for name in sorted(wanted - self._names):
            drive = disks.drive(decoded, name)
            await self.plug(drive, await self._file(drive), "raw")

    async def _file(self, drive: Drive) -> Path:
        source = drive.source
        if not isinstance(source, disks.Claimed):
            raise Terminal(f"disk {drive.name}: only the volume of a claim can be plugged in", reason="CannotPlug")
        image = await self._host.claimed_image(source.namespace, source.claim)
        if image is None:
            raise Terminal(f"disk {drive.name}: its storage is none of the dev hosts'", reason="ForeignStorage")
        return await asyncio.to_thread(storage.claimed_disk, source, image)

    async def plug(self, drive: Drive, file: Path, form: str) -> None:
        """Show a disk to the guest. Raises ``CommandFailed`` when QEMU refuses; nothing is left of it then."""
        await self._forget(drive.name)  # what a process of the host that was killed may have left
        try:
            for command, arguments in plugging.add_nodes(drive, file, form):
                await self._execute(command, arguments)
            await self._first_that_works(plugging.add_device(drive))
        except CommandFailed:
            await self._forget(drive.name)
            raise
        self._names |= {drive.name}

    async def unplug(self, name: str) -> None:
        """Take a disk from the guest; returns when the guest has let it go.

        Raises:
            Transient: it has not, yet.
        """
        device = plugging.device(name)
        gone = self._gone.setdefault(device, asyncio.Event())
        try:
            with contextlib.suppress(CommandFailed):  # it is being unplugged already, or has gone
                await self._execute("device_del", {"id": device})
            async with asyncio.timeout(_UNPLUG_SECONDS):
                await self._wait_gone(device, gone)
        except TimeoutError:
            raise Transient(f"disk {name}: the guest has not let it go", reason="Unplugging") from None
        finally:
            self._gone.pop(device, None)
        await self._forget(name)
        self._names -= {name}

    def device_deleted(self, device: str) -> None:
        """QEMU says that the guest has let a device go."""
        if (gone := self._gone.get(device)) is not None:
            gone.set()

    async def _wait_gone(self, device: str, gone: asyncio.Event) -> None:
        """By QEMU's word, or by its list: the word may have come before anybody listened."""
        found = await self._execute("qom-list", {"path": plugging.PERIPHERALS})
        if any(entry["name"] == device for entry in found):
            await gone.wait()

    async def _first_that_works(self, commands: list[plugging.Command]) -> None:
        *others, last = commands
        for command, arguments in others:
            try:
                await self._execute(command, arguments)
            except CommandFailed:
                continue
            return
        await self._execute(*last)

    async def _forget(self, name: str) -> None:
        for command, arguments in plugging.remove_nodes(name):
            with contextlib.suppress(CommandFailed):
                await self._execute(command, arguments)
