"""Giving a log's disk space back while it is still being written: a hole takes the place of what has arrived.

``fallocate(2)`` with ``FALLOC_FL_PUNCH_HOLE``: ext4, xfs, btrfs and tmpfs have it; where it is missing the space stays
taken until the run is removed.
"""

from __future__ import annotations

import ctypes
import os

from kubelet_bridge.agent.logs.tail import Place

KEPT = 1024 * 1024
"""Bytes before the place that stay: a termination message is made from a log's last lines."""
_STEP = 4 * 1024 * 1024
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02


def reclaim(path: str, place: Place, already: int) -> int:
    """Free what lies more than ``KEPT`` bytes before ``place``, when that is worth a call; where the hole now ends."""
    if place.offset < already:
        already = 0  # another file took this one's place
    end = place.offset - KEPT
    if end - already < _STEP:
        return already
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return already
    try:
        if os.fstat(handle).st_ino == place.inode:
            _fallocate(handle, end)
    finally:
        os.close(handle)
    return end


def _fallocate(handle: int, end: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate64(handle, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(end))
