"""What a group of processes has used: from cgroup v2, from v1's hierarchies, or summed up from ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable

from kubelet_bridge.agent.v1 import agent_pb2 as pb

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def directories_of(pid: int, root: Path = ROOT, proc: Path = PROC) -> list[str]:
    """The cgroup directories a process is in, without the roots, which belong to everybody; empty when it is gone."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path == "/":
            continue
        base = root if not controllers and (root / "cgroup.controllers").exists() else root / controllers
        directory = Path(f"{base}{path}")
        if directory.is_dir():
            found.append(str(directory))
    return found


def usage(directories: Iterable[str]) -> pb.Usage:
    """The counters of one cgroup, of whichever version its directories are; what none of them tells is 0."""
    found = pb.Usage()
    for directory in map(Path, directories):
        _cpu(directory, found)
        _memory(directory, found)
        found.processes = found.processes or _number(directory / "pids.current")
    return found


def usage_of_tree(pid: int, proc: Path = PROC) -> pb.Usage:
    """The same, summed up over a process and its descendants: without the time of those that nobody waited for."""
    total = pb.Usage()
    waiting, seen = [pid], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        _add(total, proc / str(one))
        waiting += _children(proc / str(one))
    total.memory_working_set_bytes = total.memory_rss_bytes = total.memory_usage_bytes
    return total


def _cpu(directory: Path, found: pb.Usage) -> None:
    stat = pairs(directory / "cpu.stat")
    if "usage_usec" in stat:
        found.cpu_nanoseconds = stat["usage_usec"] * 1000
    elif not found.cpu_nanoseconds:
        found.cpu_nanoseconds = _number(directory / "cpuacct.usage")


def _memory(directory: Path, found: pb.Usage) -> None:
    used = _number(directory / "memory.current") or _number(directory / "memory.usage_in_bytes")
    if not used:
        return
    stat = pairs(directory / "memory.stat")
    inactive = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    found.memory_usage_bytes = used
    found.memory_working_set_bytes = max(0, used - inactive)
    found.memory_rss_bytes = stat.get("total_rss", stat.get("anon", 0))


def pairs(path: Path) -> dict[str, int]:
    """A file of lines ``name number``; empty when it cannot be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {word[0]: int(word[1]) for word in words if len(word) == 2 and word[1].isdigit()}


def _number(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _add(total: pb.Usage, process: Path) -> None:
    try:
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        resident = int((process / "statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return
    total.cpu_nanoseconds += sum(int(ticks) for ticks in fields[11:15]) * 1_000_000_000 // _TICKS
    total.memory_usage_bytes += resident * _PAGE
    total.processes += 1


def _children(process: Path) -> list[int]:
    try:
        return [
            int(pid) for thread in (process / "task").iterdir() for pid in (thread / "children").read_bytes().split()
        ]
    except OSError:
        return []
