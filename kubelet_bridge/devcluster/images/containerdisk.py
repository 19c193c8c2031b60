"""A disk as a KubeVirt container disk: an OCI image with the disk under ``/disk``, readable for qemu (uid 107).

KubeVirt's user guide, "containerDisk": any file name, one file, owned by 107.
"""

import tarfile
import tempfile
from pathlib import Path

from kubelet_bridge.devcluster.images import oci
from kubelet_bridge.devcluster.images.recipe import EPOCH, Program

_QEMU = 107


def write(disk: Path, name: str, target: Path) -> None:
    """Write the layout of a container disk with ``disk`` as ``/disk/NAME.qcow2``. Blocks: the disk is compressed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".layer-") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_owned("disk", tarfile.DIRTYPE, 0o755))
            entry = _owned(f"disk/{name}.qcow2", tarfile.REGTYPE, 0o440)
            entry.size = disk.stat().st_size
            with disk.open("rb") as content:
                archive.addfile(entry, content)
        file.flush()
        oci.write_layout(Path(file.name), Program(environment=()), target, name)


def _owned(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, EPOCH
    entry.uid = entry.gid = _QEMU
    return entry
