"""How dev hosts run guests, as far as the rest of the cluster has to know: what a mode needs, and what it leaves."""

from enum import StrEnum

import msgspec

from kubelet_bridge.devcluster.devhost.qemu import accelerator, programs
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.devcluster.processes import Process
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal


class HostMode(StrEnum):
    """``NONE``: phases only. ``PROCESS``: the agent as a local process. ``QEMU``: real guests."""

    NONE = "none"
    PROCESS = "process"
    QEMU = "qemu"

    @property
    def has_guests(self) -> bool:
        """Whether something runs in which the agent can run."""
        return self is not HostMode.NONE


_RECORDS = {HostMode.NONE: "", HostMode.PROCESS: "guests/*/*/process.json", HostMode.QEMU: "run/guest-*.json"}


def prepare(mode: HostMode, layout: Layout, progress: Progress) -> None:
    """See to it that guests can run. Blocks.

    Raises:
        Terminal: this machine lacks something; the message says what to install.
    """
    if mode is HostMode.QEMU:
        programs.check()
        with progress.step("looking whether KVM runs a guest"):
            chosen = accelerator.choose(layout.run)
        progress.say(f"guests run in QEMU under {chosen.name.upper()}: {chosen.reason}")


def describe(mode: HostMode, layout: Layout) -> str:
    """How guests run, in one line."""
    known = accelerator.remembered(layout.run) if mode is HostMode.QEMU else None
    if known is None:
        return f"guests: mode {mode}"
    return f"guests: mode {mode}, {known.accelerator.name.upper()} ({known.accelerator.reason})"


def guests(mode: HostMode, layout: Layout) -> list[Process]:
    """The processes of guests: they outlive their host's, which finds them again.

    Those of another mode are not among them: no host would look after them.
    """
    found = []
    for path in sorted(layout.directory.glob(_RECORDS[mode])) if _RECORDS[mode] else []:
        try:
            process = msgspec.json.decode(path.read_bytes(), type=Process)
        except (FileNotFoundError, msgspec.DecodeError):
            continue
        if process.alive:
            found.append(process)
    return found


def parse(mode: str) -> HostMode:
    """A mode by its name.

    Raises:
        Terminal: there is none of that name.
    """
    try:
        return HostMode(mode)
    except ValueError:
        raise Terminal(f"no mode {mode!r}; there are {', '.join(HostMode)}") from None
