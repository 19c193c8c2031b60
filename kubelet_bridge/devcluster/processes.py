"""Processes that outlive us: started detached, found again by pid and start time, stopped by pid only."""

import hashlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.layout import Layout, write_private
from kubelet_bridge.errors import Terminal

_CLUSTER_VARIABLE = "DEVCLUSTER_DIRECTORY"
"""Every process of a cluster, and whatever it starts, carries the cluster's directory in this environment variable."""

_START_TIME_FIELD = 22  # proc(5), /proc/PID/stat, counted from 1

# The shell starts the program in the background and ends, so it is nobody's child of ours and leaves no zombie.
_DETACH = 'umask 077; log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


class Process(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for a later one of the same pid.

    Attributes:
        started: clock ticks since boot, from ``/proc/PID/stat``.
        boot: the kernel's boot id.
        command: sha256 of the argument list it was started with; empty when we did not start it.
    """

    pid: int
    started: int
    boot: str
    command: str = ""

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return identify(self.pid, self.command) == self


def identify(pid: int, command: str = "") -> Process | None:
    """The process that has ``pid`` now; None when there is none, or it has ended and only waits to be reaped."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return Process(pid, int(fields[_START_TIME_FIELD - 3]), _boot_id(), command)


def _stat(pid: int) -> list[str] | None:
    """``/proc/PID/stat`` from the third field (the state) on: the name before it may hold anything."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat[stat.rindex(")") + 2 :].split()


def ancestors(pid: int) -> list[int]:
    """The pids of a process's parent, its parent's, and so on."""
    found: list[int] = []
    while pid > 1 and (fields := _stat(pid)) is not None:
        pid = int(fields[1])
        found.append(pid)
    return found


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record_file(layout: Layout, name: str) -> Path:
    """Where the process called ``name`` is recorded."""
    return layout.run / f"{name}.json"


def recorded(layout: Layout, name: str) -> Process | None:
    """The living process called ``name``."""
    try:
        process = msgspec.json.decode(record_file(layout, name).read_bytes(), type=Process)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return process if process.alive else None


def start(layout: Layout, name: str, argv: list[str], environment: Mapping[str, str]) -> Process:
    """Start ``argv`` in a session of its own, writing to ``logs/NAME.log``, and record it.

    Raises:
        Terminal: it ended at once.
    """
    shell = subprocess.run(
        ["/bin/sh", "-c", _DETACH, "sh", str(layout.log(name)), *argv],
        env={**os.environ, **environment, _CLUSTER_VARIABLE: str(layout.directory)},
        cwd=layout.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, start_new_session=True,
    )  # fmt: skip
    process = identify(int(shell.stdout), command_digest(argv))
    if process is None:
        raise Terminal(f"{name} did not start: {last_words(layout, name)}")
    write_private(record_file(layout, name), msgspec.json.encode(process))
    return process


def command_digest(argv: list[str]) -> str:
    """Tells whether a running process was started with these arguments."""
    return hashlib.sha256("\0".join(argv).encode()).hexdigest()


def last_words(layout: Layout, name: str) -> str:
    """The last line of a component's log, and where the rest is."""
    path = layout.log(name)
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return f"{lines[-1][:300] if lines else 'it said nothing'} (see {path})"


def stop(process: Process, grace: float) -> None:
    """SIGTERM, and SIGKILL when it has not ended after ``grace`` seconds. Returns when it has ended."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not process.alive:  # asked after opening: the handle now names this process and no later one
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _ended(handle, grace):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, 10.0)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _ended(handle: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def belonging_to(layout: Layout) -> list[Process]:
    """Every process of the cluster: recorded, started by one that is, or left behind by a crash."""
    wanted = f"{_CLUSTER_VARIABLE}={layout.directory}".encode()
    found: list[Process] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            carries = wanted in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone meanwhile
            continue
        if carries and (process := identify(int(entry.name))) is not None:
            found.append(process)
    return found


def python_command(*arguments: str) -> list[str]:
    """Run ``kubelet-bridge`` with ``arguments`` by the Python we run on."""
    return [sys.executable, "-m", "kubelet_bridge", *arguments]
