"""Volumes where the command expects them: bind-mounted into the guest's own tree, or linked where that is refused."""

from __future__ import annotations

import os
from pathlib import Path

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.files import make_directories
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import read_only, sub_path

REASON = "CreateContainerConfigError"


def show(manifest: pb.PodManifest, container: pb.Container, volumes: dict[str, str], root: Path = Path("/")) -> None:
    """Make every mount of the container visible; one that is there already stays.

    ``root`` stands before every mount path. The commands share one tree, so two of them cannot have different volumes
    at one path: the second is refused.

    Raises:
        RunError: ``CreateContainerConfigError``: a volume is unknown, or its path is taken.
    """
    for mount in container.mounts:
        if mount.volume not in volumes:
            raise RunError(REASON, f'the Pod has no volume "{mount.volume}"')
        source = sub_path(volumes[mount.volume], mount.sub_path)
        target = Path(str(root) + "/" + mount.path.strip("/"))
        if ".." in target.parts or target == root:
            raise RunError(REASON, f"nothing can be mounted at {mount.path!r}")
        try:
            _show(source, target, read_only=read_only(manifest, mount))
        except (OSError, mounting.MountFailed) as error:
            raise RunError(REASON, f'volume "{mount.volume}" cannot be mounted at {mount.path}: {error}') from error


def _show(source: str, target: Path, *, read_only: bool) -> None:
    if _shown(source, target):
        return
    if mounting.is_mounted(str(target)) and mounting.is_stale(str(target)):
        mounting.unmount(str(target))
    if mounting.is_mounted(str(target)):
        raise mounting.MountFailed("another volume is mounted there")
    fresh = _make_point(source, target)
    try:
        mounting.bind(source, str(target), read_only=read_only)
    except mounting.MountFailed:
        if not fresh and not _is_empty(target):
            raise
        _link(source, target)


def _shown(source: str, target: Path) -> bool:
    if target.is_symlink():
        return os.readlink(str(target)) == source
    return target.exists() and mounting.is_mounted(str(target)) and target.samefile(source)


def _make_point(source: str, target: Path) -> bool:
    """A directory or file to mount over; whether it had to be made."""
    if target.exists():
        return False
    if Path(source).is_dir():
        make_directories(target, 0o755)
    else:
        make_directories(target.parent, 0o755)
        target.touch()
    return True


def _is_empty(target: Path) -> bool:
    return target.is_dir() and not any(target.iterdir())


def _link(source: str, target: Path) -> None:
    if target.is_dir():
        target.rmdir()
    else:
        target.unlink()
    target.symlink_to(source)
