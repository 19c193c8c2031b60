"""Whether the kernel killed something for want of memory."""

# ruff: noqa: PTH123 - a shim has no room for pathlib

from __future__ import annotations

UNIFIED = "/sys/fs/cgroup"


def own_directory() -> str:
    """The cgroup v2 directory this process is in; empty where there is none."""
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    paths = [line[3:] for line in lines if line.startswith("0::")]
    return UNIFIED + paths[0] if paths and paths[0] != "/" else ""


def kills(directory: str) -> int:
    """How many processes of this cgroup were killed (v2: memory.events, v1: memory.oom_control); 0 if nobody counts."""
    if not directory:
        return 0
    for name in ("memory.events", "memory.oom_control"):
        try:
            with open(f"{directory}/{name}", encoding="ascii") as file:
                return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except OSError:  # noqa: PERF203 - the other version's name
            continue
    return 0
