"""Starting a guest's first process, apart from us, and reaching it and everything below it. All of it blocks."""

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kubelet_bridge.devcluster.devhost.process import machine
from kubelet_bridge.devcluster.devhost.process.places import Places, guest_python
from kubelet_bridge.devcluster.processes import Process, identify
from kubelet_bridge.errors import Terminal, Transient

_PATIENCE = 20.0
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL")

# The shell ends at once: the guest is nobody's child of ours, and lives on when we do not.
_DETACH = 'umask 022; log=$1; shift; "$@" </dev/null >>"$log" 2>&1 &'


def refusal() -> str:
    """Why this machine runs no guests in this mode; empty when it makes the namespaces that they need. Blocks."""
    if shutil.which("unshare") is None:
        return "unshare is not installed (Debian: util-linux)"
    tried = subprocess.run(
        ["unshare", *_user_namespace(), *_NAMESPACES, "true"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return tried.stderr.strip() or "namespaces are refused" if tried.returncode else ""


def start(places: Places, hostname: str) -> Process:
    """Switch a prepared guest on; returns when it is set up, with its first process.

    Raises:
        Terminal: this machine does not let us make namespaces or mounts.
        Transient: it did not come up.
    """
    places.outcome.unlink(missing_ok=True)
    receiver, sender = os.pipe()
    try:
        _detached(places, hostname, sender)
        os.close(sender)
        sender = -1
        pid, up = _heard(receiver)
    finally:
        os.close(receiver)
        if sender >= 0:
            os.close(sender)
    process = identify(pid) if up else None
    if process is None:
        raise _refused(places)
    places.remember(process)
    return process


def _detached(places: Places, hostname: str, sender: int) -> None:
    program = [guest_python(), "-I", "-S", machine.__file__]
    arguments = [str(places.directory), hostname, guest_python(), str(sender)]
    subprocess.run(
        ["/bin/sh", "-c", _DETACH, "sh", str(places.console), "unshare", *_user_namespace(), *_NAMESPACES,
         *program, *arguments],
        stdin=subprocess.DEVNULL, check=True, start_new_session=True, pass_fds=(sender,), cwd="/",
    )  # fmt: skip


def _user_namespace() -> list[str]:
    """Who is not root has to be it somewhere to make the other namespaces."""
    return [] if os.geteuid() == 0 else ["--user", "--map-root-user"]


def _heard(receiver: int) -> tuple[int, bool]:
    """The pid, 0 when none was said, and whether the guest is set up."""
    words = b""
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    while poll.poll(_PATIENCE * 1000):
        piece = os.read(receiver, 64)
        words += piece
        if not piece or words.endswith(b"up\n"):
            break
    pid, _, rest = words.partition(b"\n")
    return int(pid or 0), rest == b"up\n"


def _refused(places: Places) -> Exception:
    lines = places.console.read_text(errors="replace").splitlines()
    last = lines[-1] if lines else "it said nothing"
    if any("unshare" in line or "mount" in line or "not permitted" in line for line in lines[-10:]):
        return Terminal(f"mode process needs namespaces and overlay mounts, which this machine refuses: {last}")
    return Transient(f"the guest did not come up: {last}", reason="GuestNotStarted")


def handle(process: Process) -> int | None:
    """A pidfd, readable when the process has ended; None when it has already."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if process.alive:  # asked after opening: the descriptor is of this process and no later one
        return descriptor
    os.close(descriptor)
    return None


def send(process: Process, number: signal.Signals) -> None:
    """Signal the guest's first process; nothing happens when it has ended."""
    if (descriptor := handle(process)) is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def send_all(process: Process, number: signal.Signals) -> None:
    """Signal everything in the guest: its first process first, and then until there is nobody new."""
    send(process, number)
    reached: set[int] = set()
    while found := set(descendants(process.pid)) - reached:
        for pid in found:
            if (one := identify(pid)) is not None:
                send(one, number)
        reached |= found


def descendants(pid: int) -> Iterator[int]:
    """Its children, theirs, and so on: of a namespace's first process, everybody in it."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)
