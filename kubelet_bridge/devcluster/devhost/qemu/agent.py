"""QEMU's guest agent, when the guest has one: who it is, and freezing its filesystems.

Commands: qga/qapi-schema.json in QEMU. The other end is inside the guest: nothing it says is trusted further than to be
shown, and nothing waits for it longer than a few seconds.
"""

import contextlib
import secrets
from pathlib import Path
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost.qemu import qmp
from kubelet_bridge.devcluster.devhost.runtime import Filesystem, GuestInfo
from kubelet_bridge.errors import Transient

_SECONDS = 5.0
_FREEZE_SECONDS = 60.0


class _Os(msgspec.Struct, rename="kebab"):
    id: str = ""
    name: str = ""
    pretty_name: str = ""
    version: str = ""
    version_id: str = ""
    kernel_release: str = ""
    kernel_version: str = ""
    machine: str = ""


class _Mount(msgspec.Struct, rename="kebab"):
    name: str = ""
    mountpoint: str = ""
    type: str = ""
    used_bytes: int = 0
    total_bytes: int = 0


class _User(msgspec.Struct):
    user: str = ""


class _Zone(msgspec.Struct):
    zone: str = ""
    offset: int = 0


class Agent:
    """The channel at ``path``. It is opened when it is needed, and again after anything went wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: qmp.Connection | None = None

    async def info(self) -> GuestInfo:
        """What the agent says of the guest.

        Raises:
            Transient: there is no (sound) answer.
        """
        version = (await self._ask("guest-info", dict[str, Any])).get("version", "")
        system = await self._ask("guest-get-osinfo", _Os)
        name = await self._ask("guest-get-host-name", dict[str, str])
        zone = await self._ask("guest-get-timezone", _Zone)
        users = await self._ask("guest-get-users", list[_User])
        mounts = await self._ask("guest-get-fsinfo", list[_Mount])
        return GuestInfo(
            agent_version=str(version), hostname=name.get("host-name", ""), os_id=system.id, os_name=system.name,
            os_pretty_name=system.pretty_name, os_version=system.version_id or system.version,
            kernel_release=system.kernel_release, kernel_version=system.kernel_version, machine=system.machine,
            timezone=f"{zone.zone}, {zone.offset}", users=tuple(user.user for user in users),
            filesystems=tuple(
                Filesystem(one.name, one.mountpoint, one.type, one.used_bytes, one.total_bytes) for one in mounts
            ),
        )  # fmt: skip

    async def freeze(self) -> None:
        """Freeze every filesystem. Raises ``Transient``."""
        await self._ask("guest-fsfreeze-freeze", int, within=_FREEZE_SECONDS)

    async def thaw(self) -> None:
        """Undo it. Raises ``Transient``."""
        await self._ask("guest-fsfreeze-thaw", int, within=_FREEZE_SECONDS)

    async def reboot(self) -> None:
        """Have the guest boot again. It may be gone before it answers: no answer is none that matters."""
        connection = self._connection or await self._connect()
        with contextlib.suppress(Transient):
            await connection.execute("guest-shutdown", {"mode": "reboot"}, within=1.0)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    async def _ask(self, command: str, kind: type[Any], *, within: float = _SECONDS) -> Any:
        connection = self._connection or await self._connect()
        answer = await connection.execute(command, within=within)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise Transient(f"guest agent: {command}: {error}", reason="AgentConfused") from error

    async def _connect(self) -> qmp.Connection:
        """A connection on which nothing is left of an earlier one."""
        try:
            connection = await qmp.connect(self._path, lambda _name, _data: None, self._forget)
        except OSError as error:
            raise Transient(f"guest agent: {error}", reason="AgentNotConnected") from error
        token = secrets.randbits(31)
        try:
            if await connection.execute("guest-sync-delimited", {"id": token}, within=_SECONDS) != token:
                raise Transient("guest agent: an answer to somebody else's question", reason="AgentConfused")
        except Transient:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _forget(self) -> None:
        self._connection = None
