"""Container disks on this machine: what stands in for pulling them."""

from pathlib import Path

from kubelet_bridge.devcluster.devhost.podstatus import image_id
from kubelet_bridge.devcluster.images import store


def find(reference: str) -> Path | None:
    """The disk that a container image's name stands for; None when it is not here. Reads a directory: blocks.

    ``NAME``, ``NAME:TAG``, and ``NAME@DIGEST`` as a migration's target Pod has it (from ``podstatus.image_id``).
    """
    name, _, digest = reference.removeprefix("containerdisk://").partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    folder = store.disk_path(f"{path}:any").parent
    if not folder.resolve().is_relative_to(store.images().resolve()):
        return None
    if digest:
        disks = sorted(folder.glob("*.qcow2"))
        return next((disk for disk in disks if image_id(f"{path}:{disk.stem}").endswith(f"@{digest}")), None)
    disk = store.disk_path(f"{path}:{tag}")
    return disk if disk.is_file() else None
