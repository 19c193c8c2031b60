"""What a guest of mode process costs: its processes' figures in ``/proc``, added up."""

import os
from pathlib import Path

from kubelet_bridge.devcluster.devhost.process.launch import descendants
from kubelet_bridge.devcluster.devhost.runtime import GuestUsage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_usage(pid: int) -> GuestUsage:
    """Of a process and its descendants. Blocks."""
    ticks = resident = 0
    for one in (pid, *descendants(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_bytes().rpartition(b")")[2].split()
            pages = int(Path(f"/proc/{one}/statm").read_bytes().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(int(field) for field in fields[11:15])
        resident += pages * _PAGE
    return GuestUsage(ticks / _TICKS, resident)
