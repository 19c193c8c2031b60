"""Which mode the demonstration runs in: real guests if this machine can have them, else the agent alone, else none."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster import registry
from kubelet_bridge.devcluster.devhost.process import launch
from kubelet_bridge.devcluster.devhost.qemu import programs
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.images import tools
from kubelet_bridge.devcluster.progress import Progress

_MEMORY = 4 << 30
_DISK = 8 << 30


class Machine(msgspec.Struct, frozen=True):
    """What decides.

    Attributes:
        root: whether we are root.
        has_apt: whether Debian's packages can be installed.
        lacking: Debian packages that real guests need and that are not here.
        memory: bytes that are available.
        disk: bytes that are free where images are kept.
    """

    root: bool
    has_apt: bool
    lacking: tuple[str, ...]
    memory: int
    disk: int


def obstacle(machine: Machine) -> str:
    """Why there can be no real guests; empty when there can."""
    if not machine.root:
        return "only root can build their images"
    if machine.lacking and not machine.has_apt:
        return f"this is no Debian, and {', '.join(machine.lacking)} are missing"
    if machine.memory < _MEMORY:
        return f"{machine.memory / 2**30:.1f} GiB of memory are free, and they need {_MEMORY >> 30}"
    if machine.disk < _DISK:
        return f"{machine.disk / 2**30:.1f} GiB of disk are free, and their images need {_DISK >> 30}"
    return ""


def choose(cache: Path, progress: Progress) -> HostMode:
    """Look at this machine, and install what is missing for real guests. Blocks."""
    machine = look(cache)
    why_not = obstacle(machine)
    if not why_not and machine.lacking:
        names = " ".join(machine.lacking)
        with progress.step(f"apt-get install {names}", f"installed {names}"):
            why_not = _install(machine.lacking)
    if not why_not:
        progress.say("mode qemu: the virtual machines are real guests")
        return HostMode.QEMU
    progress.say(f"no real guests: {why_not}")
    if refused := launch.refusal():
        progress.say(f"mode none: {refused}. The virtual machines go through their phases, and nothing runs in them")
        return HostMode.NONE
    progress.say("mode process: in place of a virtual machine, the agent runs its Pod's command on this machine")
    return HostMode.PROCESS


def look(cache: Path) -> Machine:
    """Measure the machine we are on."""
    lacking = sorted({*tools.missing(), *programs.missing(), *registry.missing()})
    available = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    return Machine(
        root=os.geteuid() == 0,
        has_apt=shutil.which("apt-get") is not None,
        lacking=tuple(lacking),
        memory=int(available[1]) << 10 if available else 0,
        disk=shutil.disk_usage(there).free,
    )


def _install(packages: tuple[str, ...]) -> str:
    """What went wrong; empty when nothing did."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            return f"apt-get {command[0]} failed: {said[-1] if said else done.returncode}"
    return ""
