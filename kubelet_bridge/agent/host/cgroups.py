"""Control groups for commands where there is no systemd to ask: limits, membership, and what was used.

cgroup v2 directly below the root (Documentation/admin-guide/cgroup-v2.rst), or the v1 hierarchies of memory, cpu and
pids. Where neither may be written there are no limits; the machine's own are then the only ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from kubelet_bridge.agent.v1 import agent_pb2 as pb

ROOT = Path("/sys/fs/cgroup")
PARENT = "kubelet-bridge"
PERIOD_MICROSECONDS = 100_000
# So many processes may one container have (a kubelet's podPidsLimit is unlimited, and a fork bomb takes the machine).
MAX_PROCESSES = 32768
_CONTROLLERS_V1 = ("memory", "cpu", "cpuacct", "pids")


class Cgroup(NamedTuple):
    """The directories of one command's cgroup, each once; ``events`` is the one that counts OOM kills."""

    directories: list[str]
    events: str


NONE = Cgroup([], "")


def make(name: str, resources: pb.Resources, root: Path = ROOT) -> Cgroup:
    """Make a cgroup with these limits; ``NONE`` where that is not possible."""
    try:
        if (root / "cgroup.controllers").exists():
            return _make_v2(name, resources, root)
        return _make_v1(name, resources, root)
    except OSError:
        return NONE


def remove(name: str, root: Path = ROOT) -> None:
    """Forget what ``make`` made, whichever version it was; one that still has processes stays."""
    for directory in (root, *(root / controller for controller in _CONTROLLERS_V1)):
        try:
            (directory / PARENT / name).rmdir()
        except OSError:  # noqa: PERF203 - a few
            continue


def limits_v2(resources: pb.Resources) -> dict[str, str]:
    """What to write into which file."""
    wanted = {"pids.max": str(MAX_PROCESSES)}
    if resources.memory_limit_bytes:
        wanted["memory.max"] = str(resources.memory_limit_bytes)
        wanted["memory.swap.max"] = "0"
        wanted["memory.oom.group"] = "1"
    if resources.cpu_limit_millis:
        wanted["cpu.max"] = f"{_quota(resources)} {PERIOD_MICROSECONDS}"
    if resources.cpu_request_millis:
        wanted["cpu.weight"] = str(weight(resources.cpu_request_millis))
    return wanted


def weight(millis: int) -> int:
    """CPU weight for a request, as a kubelet converts shares (KEP-2254: 1 + (shares - 2) * 9999 / 262142)."""
    shares = min(262144, max(2, millis * 1024 // 1000))
    return 1 + (shares - 2) * 9999 // 262142


def limits_v1(resources: pb.Resources) -> dict[str, dict[str, str]]:
    """What to write into which file of which hierarchy."""
    wanted: dict[str, dict[str, str]] = {one: {} for one in _CONTROLLERS_V1}
    wanted["pids"]["pids.max"] = str(MAX_PROCESSES)
    if resources.memory_limit_bytes:
        wanted["memory"]["memory.limit_in_bytes"] = str(resources.memory_limit_bytes)
    if resources.cpu_limit_millis:
        wanted["cpu"]["cpu.cfs_period_us"] = str(PERIOD_MICROSECONDS)
        wanted["cpu"]["cpu.cfs_quota_us"] = str(_quota(resources))
    if resources.cpu_request_millis:
        wanted["cpu"]["cpu.shares"] = str(max(2, resources.cpu_request_millis * 1024 // 1000))
    return wanted


def _quota(resources: pb.Resources) -> int:
    return max(1000, resources.cpu_limit_millis * PERIOD_MICROSECONDS // 1000)


def _make_v2(name: str, resources: pb.Resources, root: Path) -> Cgroup:
    parent = root / PARENT
    for directory in (root, parent):
        directory.mkdir(exist_ok=True)
        available = (directory / "cgroup.controllers").read_text(encoding="ascii").split()
        for controller in ("memory", "cpu", "pids"):
            if controller in available:
                (directory / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
    own = parent / name
    own.mkdir(exist_ok=True)
    _write(own, limits_v2(resources))
    return Cgroup([str(own)], str(own))


def _make_v1(name: str, resources: pb.Resources, root: Path) -> Cgroup:
    made: dict[str, str] = {}
    for controller, wanted in limits_v1(resources).items():
        hierarchy = root / controller
        if not (hierarchy / "cgroup.procs").exists():
            continue
        own = Path(os.path.realpath(str(hierarchy))) / PARENT / name
        own.mkdir(parents=True, exist_ok=True)
        _write(own, wanted)
        made[controller] = str(own)
    return Cgroup(sorted(set(made.values())), made.get("memory", ""))


def _write(directory: Path, wanted: dict[str, str]) -> None:
    """Write what this kernel has a file for."""
    for name, value in wanted.items():
        file = directory / name
        if file.exists():
            file.write_text(value, encoding="ascii")
