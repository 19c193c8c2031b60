"""emptyDir: a directory on the guest's disk, or in its memory."""

from __future__ import annotations

import os
from pathlib import Path

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes.ownership import give_to_group

# As a kubelet makes it: any user of the Pod may write.
MODE = 0o777


def prepare(source: pb.EmptyDir, place: Path, group: int | None) -> str:
    """Make it unless it is there; its content is never touched.

    Raises:
        OSError, MountFailed: it cannot be made.
    """
    fresh = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    if source.memory and not mounting.is_mounted(str(place)):
        in_memory(place, size=source.size_limit_bytes, mode=MODE)
    if fresh:
        place.chmod(MODE)
    give_to_group(str(place), group)
    return str(place)


def in_memory(place: Path, *, size: int = 0, mode: int = 0o755) -> None:
    """Mount a tmpfs there, unless mounting is not allowed and the place is in memory anyway.

    Raises:
        MountFailed: it would be on a disk.
    """
    try:
        mounting.tmpfs(str(place), size=size, mode=mode)
    except mounting.MountFailed:
        if not lies_in_memory(place):
            raise


def lies_in_memory(place: Path) -> bool:
    """Whether the nearest mount at or above ``place`` is a tmpfs."""
    points = mounting.mount_points()
    path = Path(os.path.realpath(str(place)))
    nearest = next((points[str(one)] for one in (path, *path.parents) if str(one) in points), None)
    return nearest is not None and nearest.type in {"tmpfs", "ramfs"}
