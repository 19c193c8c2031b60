"""The few system calls Python does not have. Each is tried: where the kernel or a sandbox refuses, life goes on."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWNS = 0x00020000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19

_LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> bool:
    """Whether the kernel did it."""
    return bool(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def own_mounts() -> bool:
    """Give this process its own view of the mounts; later ones of the system still appear in it."""
    return bool(_LIBC.unshare(CLONE_NEWNS) == 0) and _mount("none", "/", MS_REC | MS_SLAVE)


def bind(source: str, target: str) -> bool:
    """Show ``source`` at ``target``, in the process's own view."""
    return _mount(source, target, MS_BIND)


def read_only(path: str) -> bool:
    """Let nobody with this view write to the file system mounted there."""
    return _mount("none", path, MS_REMOUNT | MS_BIND | MS_RDONLY)


def _mount(source: str, target: str, flags: int) -> bool:
    done = _LIBC.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None)
    return bool(done == 0)
