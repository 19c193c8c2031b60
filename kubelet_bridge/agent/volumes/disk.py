"""A disk of the VM: found by its serial number, formatted only if it holds nothing, mounted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.files import make_directories
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes.ownership import give_to_group

BY_ID = Path("/dev/disk/by-id")
SYS_BLOCK = Path("/sys/block")
# virtio hands a guest no more of a serial number (include/uapi/linux/virtio_blk.h: VIRTIO_BLK_ID_BYTES).
SERIAL_BYTES = 20
# No file system, partition table, RAID or LVM leaves the first MiB all zero.
LOOKED_AT = 1024 * 1024
FORMAT_SECONDS = 900
_BLKID_FOUND_NOTHING = 2


class DiskError(Exception):
    """The disk is not there, or not in a state in which it may be used."""


def prepare(source: pb.Disk, place: Path, group: int | None) -> str:
    """The directory it is mounted at; the device itself in block mode.

    Raises:
        DiskError: there is no such disk, or it holds something that is not a file system.
        OSError, MountFailed: it cannot be formatted or mounted.
    """
    device = find(source.serial)
    if source.block:
        return device
    make_directories(place, 0o755)
    if not mounting.is_mounted(str(place)):
        if source.format_if_empty and not source.read_only and is_blank(device):
            make_file_system(device)
        mounting.mount([*(["-o", "ro"] if source.read_only else []), device, str(place)])
    if not source.read_only:
        give_to_group(str(place), group)
    return str(place)


def find(serial: str, by_id: Path = BY_ID, sys_block: Path = SYS_BLOCK) -> str:
    """The device whose serial number it is, by udev's link, or where there is no udev by asking each disk.

    Raises:
        DiskError: no disk has it.
    """
    if not serial or "/" in serial:
        raise DiskError(f"{serial!r} is not a disk's serial number")
    short = serial[:SERIAL_BYTES]
    for name in (f"virtio-{serial}", f"virtio-{short}", f"scsi-0QEMU_QEMU_HARDDISK_{serial}"):
        link = by_id / name
        if link.exists():
            return os.path.realpath(str(link))
    for directory in sorted(sys_block.glob("*")):
        if _serial(directory) in {serial, short}:
            return f"/dev/{directory.name}"
    raise DiskError(f"the machine has no disk with the serial number {serial}")


def is_blank(device: str) -> bool:
    """Whether nothing at all is on it: zeros at its beginning, and ``blkid`` recognises nothing.

    Raises:
        DiskError: there is something that nobody knows; formatting could destroy it.
    """
    known = _recognised(device)
    if known:
        return False
    with open(device, "rb") as file:  # noqa: PTH123 - a device
        zero = not any(file.read(LOOKED_AT))
    if not zero and known is False:
        raise DiskError(f"{device} holds data that blkid does not know: it is neither formatted nor mounted")
    return zero


def make_file_system(device: str) -> None:
    """Format it as ext4, as a kubelet does by default.

    Raises:
        DiskError: it did not work.
    """
    done = subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-m", "0", device],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=FORMAT_SECONDS,
        check=False,
        cwd="/",
    )
    if done.returncode != 0:
        raise DiskError(f"mkfs.ext4 {device}: {done.stderr.decode(errors='replace').strip()}")


def _recognised(device: str) -> bool | None:
    """What ``blkid`` says; None where it is missing or too small a one (busybox has no ``-p``)."""
    try:
        done = subprocess.run(
            ["blkid", "-p", "-u", "filesystem,raid,crypto,other", device],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=mounting.TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return None
    if done.returncode == 0:
        return bool(done.stdout)
    return False if done.returncode == _BLKID_FOUND_NOTHING else None


def _serial(directory: Path) -> str:
    for path in (directory / "serial", directory / "device" / "serial"):
        if path.exists():
            return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
