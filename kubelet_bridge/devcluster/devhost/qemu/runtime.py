"""Mode ``qemu``: starts machines, finds those of an earlier process again, and ends what belongs to nobody."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime

import structlog

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.qemu import PROGRAM, accelerator, disks, instance, machine, storage, vmispec
from kubelet_bridge.devcluster.devhost.qemu.guest import QemuGuest
from kubelet_bridge.devcluster.devhost.qemu.instance import Instance
from kubelet_bridge.devcluster.devhost.runtime import Guest, GuestSpec, GuestState, Host
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.errors import BridgeError, Terminal, Transient

log = structlog.get_logger(__name__)


class QemuRuntime:
    """Runs ``QemuGuest``s of the host ``node``."""

    def __init__(self, node: str, layout: Layout, host: Host) -> None:
        self._node = node
        self._layout = layout
        self._host = host
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Own the tasks that look after guests; cancelled, it leaves the machines running."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            chosen = await asyncio.to_thread(accelerator.choose, self._layout.run)
            log.info("guests run", accelerator=chosen.name, reason=chosen.reason)
            await asyncio.Event().wait()

    async def start(self, spec: GuestSpec) -> Guest:
        """Build the machine and power it on; one that was started before this host's process is gone on with."""
        if (known := await self._find(spec, None)) is not None:
            return known
        one = Instance(self._layout, self._node, spec.uid)
        try:
            guest = await self._launch(spec, one)
            await guest.power_on()
        except (BridgeError, asyncio.CancelledError):
            await asyncio.to_thread(one.remove, disks=True)
            raise
        return self._look_after(guest)

    async def adopt(self, spec: GuestSpec, last: GuestState) -> Guest | None:
        """The guest whose QEMU still runs."""
        return await self._find(spec, last.started_at)

    async def receive(self, spec: GuestSpec, _address: str, secret: str) -> Guest:
        """Start the other end of a migration: the same machine, with the same disks."""
        one = Instance(self._layout, self._node, spec.uid)
        try:
            guest = await self._launch(spec, one, secret=secret, started_at=vmispec.started_at(spec.vmi))
            await guest.await_arrival()
        except (BridgeError, asyncio.CancelledError):
            await asyncio.to_thread(one.remove, disks=False)
            raise
        return self._look_after(guest)

    async def retain(self, uids: Collection[str]) -> None:
        """End the machines of VirtualMachineInstances other than these: they were deleted while nobody looked."""
        for uid in await asyncio.to_thread(instance.recorded_uids, self._layout, self._node):
            if uid not in uids:
                log.info("ending a machine that belongs to nobody", uid=uid)
                await asyncio.to_thread(Instance(self._layout, self._node, uid).remove, disks=True)

    async def _find(self, spec: GuestSpec, started_at: datetime | None) -> Guest | None:
        one = Instance(self._layout, self._node, spec.uid)
        if not await asyncio.to_thread(one.alive):
            return None
        guest = QemuGuest(spec, one, self._host, started_at)
        try:
            await guest.connect()
            await guest.rediscover()
            if guest.state.paused and started_at is None:
                await guest.power_on()
        except (Transient, OSError, TimeoutError) as error:
            log.warning("a machine does not answer and is ended", guest=spec.name, error=str(error))
            await asyncio.to_thread(one.remove, disks=True)
            return None
        return self._look_after(guest)

    async def _launch(
        self, spec: GuestSpec, one: Instance, *, secret: str = "", started_at: datetime | None = None
    ) -> QemuGuest:
        """QEMU's process, with its processors stopped, or waiting for ``secret``'s migration."""
        raw = await self._built_from(spec, one) if secret else spec.vmi
        vmi = vmispec.decode(raw)
        drives = disks.drives(vmi)
        objects = await self._objects(vmi, drives)
        claims = storage.Claims(self._layout.directory / "claims", await self._images(drives))
        made = await asyncio.to_thread(
            storage.make, vmi, drives, spec.hostname, lambda secret, name: objects[secret, name], one.disks, claims
        )
        chosen = await asyncio.to_thread(accelerator.choose, self._layout.run)
        around = machine.Surroundings(
            accelerator=chosen.arguments, sockets=one.sockets.relative_to(self._layout.directory), console=one.console,
            files=made.files, formats=made.formats, address=spec.address,
            firmware=await asyncio.to_thread(storage.firmware, one.disks) if vmispec.wants_uefi(vmi) else None,
            incoming=one.incoming(secret) if secret else None,
        )  # fmt: skip
        await files.write_private(one.vmi, raw)
        await asyncio.to_thread(one.start, PROGRAM, machine.arguments(vmi, drives, around))
        guest = QemuGuest(spec, one, self._host, started_at)
        await guest.connect()
        return guest

    async def _built_from(self, spec: GuestSpec, one: Instance) -> bytes:
        """What the machine at the other end was built from: this one must be the same.

        Raises:
            Terminal: it is to have another size now.
        """
        try:
            raw = await files.read(one.vmi)
        except FileNotFoundError as error:
            raise Transient(f"the disks of {spec.name} are not there", reason="NoDisks") from error
        before, wanted = (vmispec.decode(text).spec.domain for text in (raw, spec.vmi))
        if (before.cpu, before.memory) != (wanted.cpu, wanted.memory):
            raise Terminal("mode qemu cannot give a running guest another size", reason="CannotResize")
        return raw

    async def _images(self, drives: list[disks.Drive]) -> Mapping[str, ClaimedImage]:
        """The images of the claims whose storage is the dev hosts' own."""
        found = dict[str, ClaimedImage]()
        for source in (drive.source for drive in drives):
            if isinstance(source, disks.Claimed):
                image = await self._host.claimed_image(source.namespace, source.claim)
                if image is not None:
                    found[source.claim] = image
        return found

    async def _objects(
        self, vmi: vmispec.Vmi, drives: list[disks.Drive]
    ) -> Mapping[tuple[bool, str], Mapping[str, bytes]]:
        """Every Secret (True) and ConfigMap (False) that the disks are made of."""
        wanted = {reference for drive in drives for reference in disks.references(drive)}
        namespace = vmi.metadata.namespace
        return {
            (secret, name): await (self._host.secret if secret else self._host.config_map)(namespace, name)
            for secret, name in sorted(wanted)
        }

    def _look_after(self, guest: QemuGuest) -> QemuGuest:
        if self._group is None:
            raise Transient("this host is only starting", reason="Starting")
        self._group.create_task(guest.run(), name=f"guest-{guest.spec.uid}")
        return guest
