"""File systems that follow their disks: a claim that was expanded is larger for its containers, with nothing restarted.

A kubelet does the same as ``NodeExpandVolume`` (``pkg/volume/util/operationexecutor``, ``k8s.io/mount-utils``
``resizefs_linux.go``): only what may be done while it is mounted, so nothing is checked or moved.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Callable

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.volumes.formatting import FREE

# What formatting leaves free at a disk's end (a MiB, and the rest of one) is taken without a word, or left there.
LOOK_SECONDS = 10.0
GROW_SECONDS = 900
SYS_BLOCK = Path("/sys/class/block")
_SECTOR = 512
Told = Callable[[str, str, bool], None]
"""Takes the volume's name, what happened to it, and whether it went wrong."""


class GrowthFailed(Exception):
    """The file system stays as small as it was; the message says why."""


async def watch(volumes: Path, told: Told) -> None:
    """Look at the disks mounted in ``volumes`` now and then, for ever, and grow what has room."""
    seen: dict[str, int] = {}
    while True:
        for point, size in await in_thread(disks, volumes):
            if seen.get(point.device) == size:
                continue
            grown = point.device in seen
            seen[point.device] = size
            name = Path(point.path).name
            try:
                before, after = await in_thread(grow, point)
            except GrowthFailed as error:
                if grown or not isinstance(error.__cause__, FileNotFoundError):
                    told(name, str(error), True)
            else:
                if after > before + 2 * FREE:
                    told(name, f"from {before} to {after} bytes", False)
        await asyncio.sleep(LOOK_SECONDS)


def disks(volumes: Path, sys_block: Path = SYS_BLOCK) -> list[tuple[mounting.MountPoint, int]]:
    """The disks that are mounted directly in ``volumes`` for writing, and how large each is, in bytes."""
    found = []
    for point in mounting.mount_points().values():
        sectors = sys_block / Path(point.device).name / "size"
        ours = Path(point.path).parent == volumes and point.device.startswith("/dev/") and "ro" not in point.options
        if ours and sectors.exists():
            found.append((point, int(sectors.read_text()) * _SECTOR))
    return found


def grow(point: mounting.MountPoint) -> tuple[int, int]:
    """Make a mounted file system as large as its disk; how large it was and is, in bytes. Again is harmless.

    Raises:
        GrowthFailed: it has room, and could not be grown.
    """
    before = _total(point.path)
    command = _command(point)
    if not command:
        return before, before
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=GROW_SECONDS, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GrowthFailed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise GrowthFailed(f"{' '.join(command)}: {said}")
    return before, _total(point.path)


def _command(point: mounting.MountPoint) -> list[str]:
    if point.type in {"ext2", "ext3", "ext4"}:
        return ["resize2fs", point.device]
    if point.type == "xfs":
        return ["xfs_growfs", point.path]
    if point.type == "btrfs":
        return ["btrfs", "filesystem", "resize", "max", point.path]
    return []


def _total(path: str) -> int:
    seen = os.statvfs(path)
    return seen.f_blocks * seen.f_frsize
