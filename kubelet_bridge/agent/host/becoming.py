"""What a new process does to itself between fork and exec; also in a shim, so the imports are few."""

from __future__ import annotations

import fcntl
import os
import termios


def own_terminal(descriptor: int) -> None:
    """Make the terminal this session's controlling one."""
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Change user, if we may at all: without root there is only one user we can be.

    Raises:
        PermissionError: another user was asked for, and only root may do that.
    """
    if os.geteuid() == 0:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    elif uid != os.geteuid():
        raise PermissionError(1, f"only root can run a command as user {uid}")


def join_cgroup(files: list[str]) -> None:
    """Move this process by writing to ``cgroup.procs`` files; one that is gone is no reason not to run."""
    for path in files:
        _try_to_write(path)


def like_any_other() -> None:
    """Be killed in need of memory like any other process: the agent is spared, and children inherit that."""
    _try_to_write("/proc/self/oom_score_adj")


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """The terminal's size; the kernel tells its foreground processes (SIGWINCH)."""
    size = (rows & 0xFFFF).to_bytes(2, "little") + (columns & 0xFFFF).to_bytes(2, "little") + bytes(4)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def _try_to_write(path: str) -> None:
    """Write "0"; a file that is not there, or not ours to write in some sandbox, stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(descriptor, b"0")
    except OSError:
        pass
    finally:
        os.close(descriptor)
