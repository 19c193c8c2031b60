"""Makes a file system on an empty disk, once, though the machine may die at any moment.

A mark at the disk's end, which the file system leaves free, says that it was empty and is being formatted: whatever is
found on a marked disk was never mounted, and formatting begins anew. The mark goes before the disk is mounted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from typing import Iterator

from kubelet_bridge.agent.volumes.blank import DiskError, is_blank, size

FORMAT_SECONDS = 900
MARK = b"kubelet-bridge: this disk was empty and is being formatted\n".ljust(4096, b"\0")
# So much at the end is not the file system's at first; it grows into that when it is mounted.
FREE = 1024 * 1024
_LEAST = 4 * FREE


def ensure(device: str) -> None:
    """Format it if nothing at all is on it, or if that was begun before.

    Raises:
        DiskError: it holds something that nobody knows, or could not be formatted.
        OSError: it cannot be read or written.
    """
    with _alone(device) as file:
        place = _marks_place(device)
        marked = os.pread(file, len(MARK), place) == MARK
        if not marked and not is_blank(device):
            return
        if not place:
            raise DiskError(f"{device} is too small for a file system")
        if not marked:
            _write(device, MARK, place)
        _make_file_system(device, place)
        _write(device, bytes(len(MARK)), place)


@contextlib.contextmanager
def _alone(device: str) -> Iterator[int]:
    """One agent at a time; udev, too, leaves a locked disk alone (systemd.io/BLOCK_DEVICE_LOCKING)."""
    file = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _marks_place(device: str) -> int:
    """Where the mark is, which is also where the file system ends at first; 0 on a disk too small for both."""
    end = size(device)
    return (end - FREE) // FREE * FREE if end >= _LEAST else 0


def _write(device: str, data: bytes, place: int) -> None:
    with open(device, "r+b", buffering=0) as file:  # noqa: PTH123 - a device
        file.seek(place)
        file.write(data)
        os.fsync(file.fileno())


def _make_file_system(device: str, end: int) -> None:
    """ext4, as a kubelet does by default."""
    command = ["mkfs.ext4", "-q", "-F", "-m", "0", device, f"{end // 1024}k"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FORMAT_SECONDS, check=False, cwd="/"
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise DiskError(f"mkfs.ext4 {device}: {error}") from error
    if done.returncode != 0:
        raise DiskError(f"mkfs.ext4 {device}: {done.stderr.decode(errors='replace').strip()}")
