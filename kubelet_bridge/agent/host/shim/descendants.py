"""Everything that the command has started: collected when it ends, killed when the command has ended."""

# ruff: noqa: PTH123, PTH208 - a shim has no room for pathlib

from __future__ import annotations

import os
import signal
import time

# A process in uninterruptible sleep cannot be killed; one waits no longer for it.
GIVE_UP_SECONDS = 10.0
_PAUSE_SECONDS = 0.01


def collect(main: int) -> int | None:
    """Collect whoever has ended; the wait status of ``main`` when it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == main:
            found = status


def kill_all(cgroup: str) -> None:
    """End all of them, as a container's other processes end with its first one.

    They become our children as their parents end (we are a subreaper), so killing our children until there are none
    reaches all. ``cgroup`` was made for them: where the kernel can, it kills what is in there at once.
    """
    if cgroup:
        _kill_cgroup(cgroup)
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < give_up:
        collect(0)
        children = _children()
        if not children:
            return
        for pid in children:
            _kill(pid)
        time.sleep(_PAUSE_SECONDS)


def _kill_cgroup(directory: str) -> None:
    try:
        descriptor = os.open(f"{directory}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # before Linux 5.14, or cgroup v1
    try:
        os.write(descriptor, b"1")
    finally:
        os.close(descriptor)


def _children() -> list[int]:
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == me]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
