"""How a guest runs: what a mode (``none``, ``process``, ``qemu``) must be able to do. It knows no Kubernetes object.

A runtime acts and reports. When to act, and what a change means for the VirtualMachineInstance, ``handler`` decides.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage


class Exit(StrEnum):
    """Why a guest runs no more, in libvirt's words (``virDomainShutoffReason``)."""

    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    DESTROYED = "destroyed"
    MIGRATED = "migrated"


class GuestSpec(msgspec.Struct, frozen=True):
    """What a runtime needs to know to run a guest.

    Attributes:
        uid: of the VirtualMachineInstance: one boot on one host.
        address: of the launcher Pod; traffic to it is for the guest.
        vmi: the whole VirtualMachineInstance as JSON, for runtimes that build a machine from it.
        paused: power it on with its processors stopped.
    """

    uid: str
    namespace: str
    name: str
    hostname: str
    address: str
    vmi: bytes
    paused: bool = False


class GuestState(msgspec.Struct, frozen=True):
    """What can be seen of a guest.

    Attributes:
        started_at: when the machine was powered on, on whichever host that was; None until it runs on this one.
        booted: its operating system is up and the guest agent answers.
        exit: why it ended; None while it has not.
    """

    started_at: datetime | None = None
    booted: bool = False
    paused: bool = False
    frozen: bool = False
    exit: Exit | None = None

    @property
    def running(self) -> bool:
        """Powered on and not ended; a paused guest is running too."""
        return self.started_at is not None and self.exit is None


class Filesystem(msgspec.Struct, frozen=True):
    """A filesystem the guest has mounted; sizes in bytes."""

    device: str
    mount_point: str
    kind: str
    used: int
    total: int


class GuestInfo(msgspec.Struct, frozen=True):
    """What a guest agent tells of its operating system. ``users`` are those logged in."""

    agent_version: str
    hostname: str
    os_id: str
    os_name: str
    os_pretty_name: str
    os_version: str
    kernel_release: str
    kernel_version: str
    machine: str
    timezone: str
    users: tuple[str, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()


class GuestUsage(msgspec.Struct, frozen=True):
    """What a guest costs its host: CPU seconds since it was powered on, and bytes of memory that it holds."""

    cpu_seconds: float
    resident: int


class ByteStream(Protocol):
    """Two directions of bytes: a serial line, a VNC connection."""

    async def read(self) -> bytes:
        """The next bytes from the guest, in whatever pieces they come; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Bytes for the guest."""

    async def close(self) -> None:
        """Hang up."""


class Guest(Protocol):
    """One guest. Every method may be called in any state; what makes no sense in it does nothing."""

    @property
    def spec(self) -> GuestSpec:
        """What it was started from."""

    @property
    def state(self) -> GuestState:
        """As of now; each change of it was announced with ``Host.changed``."""

    @property
    def migration_ports(self) -> Mapping[str, int]:
        """Where a guest that is being received listens on this host; empty otherwise.

        Each port with what it is for, as ``targetDirectMigrationNodePorts`` has them.
        """

    async def shutdown(self) -> None:
        """Press the power button: the guest may take its time, or ignore it."""

    async def kill(self) -> None:
        """Switch it off (``Exit.DESTROYED``)."""

    async def crash(self) -> None:
        """Make it fail (``Exit.CRASHED``): for fault tests."""

    async def reset(self) -> None:
        """Press the reset button: the same guest boots again."""

    async def reboot(self) -> None:
        """Ask its operating system to boot again."""

    async def pause(self) -> None:
        """Stop its processors."""

    async def unpause(self) -> None:
        """Let them run again."""

    async def freeze(self, thaw_after: float) -> None:
        """Freeze its filesystems, for so many seconds at most; 0: for ever."""

    async def thaw(self) -> None:
        """Undo ``freeze``."""

    async def migrate(self, address: str, ports: Mapping[str, int], secret: str) -> None:
        """Send this guest to the one that waits at ``address``; return when it runs there and has ended here.

        Raises:
            Transient: it could not be sent; it still runs here.
        """

    async def console(self) -> ByteStream:
        """Its first serial line, from now on: nothing that was said before."""

    async def vnc(self) -> ByteStream:
        """Its screen, as RFB."""

    async def info(self) -> GuestInfo:
        """What its agent says."""

    @property
    def plugged(self) -> frozenset[str]:
        """The disks that were plugged in since it was powered on, by name."""

    async def plug(self, vmi: bytes) -> None:
        """Plug in the disks that the VirtualMachineInstance, as it is now, says are here; unplug what it has no more.

        A disk whose claim has grown grows.

        Raises:
            Transient: try again.
            Terminal: this mode, or the disk's bus, cannot do that.
        """

    async def usage(self) -> GuestUsage | None:
        """What it costs; None when nobody measures that."""


class Host(Protocol):
    """What a runtime may ask of the host it runs on."""

    def changed(self, guest: Guest) -> None:
        """``guest.state`` is another one than before. Called on the event loop."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The data of a Secret that a volume of the guest names, such as its cloud-init documents.

        Raises:
            ApiError: it is not there, or there is no answer.
        """

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The data of a ConfigMap that a volume of the guest names.

        Raises:
            ApiError: it is not there, or there is no answer.
        """

    async def claimed_image(self, namespace: str, claim: str) -> ClaimedImage | None:
        """The disk image of a claim that a volume of the guest names; None when its storage is none of the dev hosts'.

        Raises:
            Transient: the claim is not bound (yet).
            Terminal: the volume has lost its files.
            ApiError: it is not there, or there is no answer.
        """


class GuestRuntime(Protocol):
    """One mode of running guests."""

    async def run(self) -> None:
        """Own every background task of the guests until cancelled; then leave them running for ``adopt``, if it can."""

    async def start(self, spec: GuestSpec) -> Guest:
        """Begin to start a guest; ``state`` tells when it runs.

        Raises:
            Transient: try again.
            Terminal: this guest cannot be run by this mode.
        """

    async def adopt(self, spec: GuestSpec, last: GuestState) -> Guest | None:
        """The guest that an earlier process of this host ran, last seen in state ``last``; None when it is gone."""

    async def receive(self, spec: GuestSpec, address: str, secret: str) -> Guest:
        """Make ready to be sent a guest (``Guest.migrate``) that knows ``secret``, listening on ``address``."""

    async def retain(self, uids: Collection[str]) -> None:
        """End what an earlier process of this host ran, but for the guests of these VirtualMachineInstances."""
