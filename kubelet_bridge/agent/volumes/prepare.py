"""Every volume of a manifest, made ready in its own way."""

from __future__ import annotations

from pathlib import Path

from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.mounting import MountFailed
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import disk, emptydir, files
from kubelet_bridge.agent.volumes.blank import DiskError

REASON = "FailedMount"


def prepare(manifest: pb.PodManifest, paths: Paths) -> dict[str, str]:
    """Where each volume is in the guest, by its name: a directory, or a device for a disk in block mode.

    Raises:
        RunError: ``FailedMount``: one of them cannot be made ready; the message names it.
    """
    group = manifest.security.fs_group if manifest.security.HasField("fs_group") else None
    return {volume.name: _prepare(volume, paths, group) for volume in manifest.volumes}


def _prepare(volume: pb.Volume, paths: Paths, group: int | None) -> str:
    if not volume.name or "/" in volume.name or volume.name in {".", ".."}:
        raise RunError(REASON, f"volume {volume.name!r} has a name that cannot be used")
    try:
        return _by_source(volume, paths.state / "volumes", paths.run / "volumes", group)
    except (OSError, MountFailed, DiskError) as error:
        raise RunError(REASON, f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error


def _by_source(volume: pb.Volume, kept: Path, volatile: Path, group: int | None) -> str:
    kind = volume.WhichOneof("source")
    if kind == "empty_dir":
        place = (volatile if volume.empty_dir.memory else kept) / volume.name
        return emptydir.prepare(volume.empty_dir, place, group)
    if kind == "files":
        place = (volatile if volume.files.secret else kept) / volume.name
        return files.prepare(volume.files, place, group)
    if kind == "disk":
        return disk.prepare(volume.disk, kept / volume.name, group)
    raise RunError(REASON, f'volume "{volume.name}" is of a kind this agent does not know; a newer one may')
