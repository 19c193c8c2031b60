"""One QEMU process: its files and sockets in the cluster's directory, and its life. Everything blocks: use a thread."""

import hashlib
import shutil
from pathlib import Path

from kubelet_bridge.devcluster import processes
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.errors import Terminal

_LONGEST_SOCKET = 107
_PREFIX = "guest-"


class Instance:
    """The machine of one VirtualMachineInstance on one host; during a migration another host has a second one.

    Attributes:
        disks: the guest's disks, shared with the other end of a migration.
        sockets: QMP, serial line, screen and guest agent.
        console: all that the guest said on its serial line; it stays when the guest has gone.
    """

    def __init__(self, layout: Layout, node: str, uid: str) -> None:
        self._layout = layout
        self._uid = uid
        self.name = f"{_PREFIX}{node}-{uid}"
        self.disks = layout.directory / "guests" / uid
        # A name of fixed length: a socket's path may have 107 bytes, and the cluster's directory is not ours to choose.
        self.sockets = layout.run / f"g{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"
        self.console = layout.logs / f"{self.name}.console"

    @property
    def vmi(self) -> Path:
        """The VirtualMachineInstance that the machine was built from."""
        return self.disks / "vmi.json"

    def incoming(self, secret: str) -> Path:
        """The socket on which the target of the migration ``secret`` waits: both ends are on this machine."""
        return self._layout.run / f"m{hashlib.sha256(secret.encode()).hexdigest()[:12]}"

    def start(self, program: str, arguments: list[str]) -> None:
        """Start QEMU, detached.

        Raises:
            Terminal: it ended at once, or the cluster's directory has too long a name.
        """
        if len(str(self.sockets / "serial")) > _LONGEST_SOCKET:
            raise Terminal(f"{self.sockets}: too long for a Unix socket's path; use another directory")
        shutil.rmtree(self.sockets, ignore_errors=True)
        self.sockets.mkdir(mode=0o700)
        self._layout.log(self.name).unlink(missing_ok=True)
        processes.start(self._layout, self.name, [program, *arguments], {})

    def alive(self) -> bool:
        """Whether its process runs."""
        return processes.recorded(self._layout, self.name) is not None

    def last_words(self) -> str:
        """What QEMU said last."""
        return processes.last_words(self._layout, self.name)

    def stop(self, grace: float = 2.0) -> None:
        """End its process; returns when it has ended."""
        if (process := processes.recorded(self._layout, self.name)) is not None:
            processes.stop(process, grace)

    def remove(self, *, disks: bool) -> None:
        """End its process and remove what it leaves behind; ``disks``: the guest's own, too."""
        self.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)
        for path in (processes.record_file(self._layout, self.name), self._layout.log(self.name)):
            path.unlink(missing_ok=True)
        if disks and not self._elsewhere():
            shutil.rmtree(self.disks, ignore_errors=True)

    def _elsewhere(self) -> bool:
        """Whether another host has a machine with the same disks."""
        others = [name for name in recorded_names(self._layout) if name.endswith(f"-{self._uid}") and name != self.name]
        return any(processes.recorded(self._layout, name) is not None for name in others)


def recorded_names(layout: Layout) -> list[str]:
    """The names of every machine's process that may be running."""
    return sorted(path.stem for path in layout.run.glob(f"{_PREFIX}*.json"))


def recorded_uids(layout: Layout, node: str) -> list[str]:
    """The VirtualMachineInstances that the host ``node`` has a machine of."""
    prefix = f"{_PREFIX}{node}-"
    return [name.removeprefix(prefix) for name in recorded_names(layout) if name.startswith(prefix)]
