"""Whether a disk is empty. ``blkid`` alone does not know everything that people keep on disks; zeros are zeros."""

from __future__ import annotations

import errno
import os
import subprocess

from kubelet_bridge.agent import mounting

MIB = 1024 * 1024
# Both ends in full: partition tables, LVM, LUKS, md, ZFS and file systems have what they are known by there.
EDGE = 16 * MIB
# And a look at so many places between them, for data that has no form at all.
PLACES, PLACE = 1024, 64 * 1024
_NOTHING, _AMBIVALENT = 2, 8  # exit codes of blkid(8)


class DiskError(Exception):
    """The disk is not there, or not in a state in which it may be used."""


def is_blank(device: str) -> bool:
    """Whether there is nothing on it: ``blkid`` recognises nothing, and there are only zeros where we look.

    Raises:
        DiskError: there is something that nobody knows; formatting could destroy it.
        OSError: it cannot be read, which says nothing of what is on it.
    """
    known = _recognised(device)
    if known:
        return False
    if _is_zero(device):
        return True
    if known is False:
        raise DiskError(f"{device} holds data that blkid does not know: it is neither formatted nor mounted")
    return False


def size(device: str) -> int:
    """Bytes that fit on it.

    Raises:
        DiskError: none do: it is not a disk yet, or no longer.
    """
    with open(device, "rb") as file:  # noqa: PTH123 - a device
        found = file.seek(0, os.SEEK_END)
    if not found:
        raise DiskError(f"{device} has no size")
    return found


def _is_zero(device: str) -> bool:
    end = size(device)
    last = max(end - EDGE, 0)
    between = range(EDGE, last, max((last - EDGE) // PLACES, PLACE))
    with open(device, "rb", buffering=0) as file:  # noqa: PTH123 - a device
        ends = (offset for start in (0, last) for offset in range(start, min(start + EDGE, end), MIB))
        return all(_zeros(file.fileno(), offset, min(MIB, end - offset)) for offset in ends) and all(
            _zeros(file.fileno(), offset, min(PLACE, end - offset)) for offset in between
        )


def _zeros(file: int, offset: int, length: int) -> bool:
    """Whether there is nothing else; a read that ends early has met something that cannot be read."""
    data = os.pread(file, length, offset)
    if len(data) != length:
        raise OSError(errno.EIO, f"only {len(data)} of {length} bytes at {offset} can be read")
    return not data.strip(b"\0")


def _recognised(device: str) -> bool | None:
    """What ``blkid`` says; None where it is missing or too small a one (busybox has no ``-p``), or has failed."""
    try:
        done = subprocess.run(
            ["blkid", "-p", "-u", "filesystem,raid,crypto,other", device],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=mounting.TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired as error:
        raise DiskError(f"{device} cannot be looked at: {error}") from error
    if done.returncode == _AMBIVALENT:
        return True
    if done.returncode == 0:
        return bool(done.stdout)
    return False if done.returncode == _NOTHING else None
