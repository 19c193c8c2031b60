"""A container's cgroup (version 2), read directly: usage, and whether the kernel killed something for memory.

Each container has a parent cgroup of its own. It stays when podman removes the container's, and its counters hold what
happened below (cgroup-v2.rst: ``memory.events`` is hierarchical), so an OOM kill is still seen after the end.
"""

from __future__ import annotations

from pathlib import Path

from kubelet_bridge.agent.v1 import agent_pb2 as pb

ROOT = Path("/sys/fs/cgroup")
PARENT = "/kubelet-bridge"


def parent(name: str) -> str:
    """The path below the cgroup file system for a container of that name."""
    return f"{PARENT}/{name}"


def oom_killed(name: str, root: Path = ROOT) -> bool:
    """Whether the kernel has killed a process of it for want of memory."""
    return _table(root / parent(name).lstrip("/") / "memory.events").get("oom_kill", 0) > 0


def usage(name: str, root: Path = ROOT) -> pb.Usage:
    """What it uses now; zeros where that is not known."""
    place = root / parent(name).lstrip("/")
    memory = _table(place / "memory.stat")
    used = _number(place / "memory.current")
    return pb.Usage(
        cpu_nanoseconds=_table(place / "cpu.stat").get("usage_usec", 0) * 1000,
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - memory.get("inactive_file", 0)),
        memory_rss_bytes=memory.get("anon", 0),
        processes=_number(place / "pids.current"),
    )


def forget(name: str, root: Path = ROOT) -> None:
    """Remove what is left of an ended container's cgroup."""
    try:
        (root / parent(name).lstrip("/")).rmdir()
    except OSError:
        pass  # podman has done it, or a process is still there


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
