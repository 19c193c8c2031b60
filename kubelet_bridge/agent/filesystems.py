"""The guest's file systems: those on disks, each once, and how full they are."""

from __future__ import annotations

import os

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.v1 import agent_pb2 as pb

# Those that hold data although no device is behind them.
_WITHOUT_DEVICE = frozenset({"virtiofs", "9p", "nfs", "nfs4", "cifs", "zfs", "overlay"})
MAX_FILESYSTEMS = 64


def filesystems(table: str = "/proc/self/mounts") -> list[pb.Filesystem]:
    """What is mounted from disks or hosts; a bind mount of the same device counts once, by its shortest path.

    Blocks for as long as a file system that hangs does: call it in a thread.
    """
    by_device: dict[str, mounting.MountPoint] = {}
    for point in mounting.mount_points(table).values():
        if not (point.device.startswith("/dev/") or point.type in _WITHOUT_DEVICE) or point.type == "squashfs":
            continue
        known = by_device.get(point.device)
        if known is None or len(point.path) < len(known.path):
            by_device[point.device] = point
    found = [_measure(point) for point in list(by_device.values())[:MAX_FILESYSTEMS]]
    return [one for one in found if one is not None]


def _measure(point: mounting.MountPoint) -> pb.Filesystem | None:
    try:
        state = os.statvfs(point.path)
    except OSError:
        return None
    return pb.Filesystem(
        device=point.device,
        mount_point=point.path,
        type=point.type,
        total_bytes=state.f_blocks * state.f_frsize,
        used_bytes=(state.f_blocks - state.f_bfree) * state.f_frsize,
        inodes=state.f_files,
        inodes_used=state.f_files - state.f_ffree,
    )
