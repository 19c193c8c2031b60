"""What this process itself uses, and the file system that it writes to. Everything here blocks."""

import os
import time
from pathlib import Path

from kubelet_bridge.model.usage import DiskUsage, Usage

_PAGE = os.sysconf("SC_PAGE_SIZE")


def own_usage() -> Usage:
    """Of this process."""
    resident, shared = (int(one) * _PAGE for one in Path("/proc/self/statm").read_bytes().split()[1:3])
    return Usage(
        cpu=time.process_time_ns(), memory=resident, working_set=resident, rss=resident - shared,
        processes=sum(1 for _ in Path("/proc/self/task").iterdir()),
    )  # fmt: skip


def disk_usage(directory: Path, now: int) -> DiskUsage | None:
    """Of the file system that ``directory`` is on; None when it does not tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return DiskUsage(
        at=now, total=found.f_blocks * found.f_frsize, available=found.f_bavail * found.f_frsize,
        inodes=found.f_files, inodes_free=found.f_ffree,
    )  # fmt: skip
