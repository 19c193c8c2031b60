"""A disk of the VM: found by its serial number, formatted only if it holds nothing, mounted."""

from __future__ import annotations

import os
from pathlib import Path

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.files import make_directories
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import checking, formatting
from kubelet_bridge.agent.volumes.blank import DiskError
from kubelet_bridge.agent.volumes.ownership import give_to_group

BY_ID = Path("/dev/disk/by-id")
SYS_BLOCK = Path("/sys/block")
# virtio hands a guest no more of a serial number (include/uapi/linux/virtio_blk.h: VIRTIO_BLK_ID_BYTES).
SERIAL_BYTES = 20
# What udev calls QEMU's disks on other buses, and CD-ROMs (60-persistent-storage.rules).
LINKS = (
    "virtio-{}",
    "scsi-0QEMU_QEMU_HARDDISK_{}",
    "scsi-0QEMU_QEMU_CD-ROM_{}",
    "ata-QEMU_HARDDISK_{}",
    "ata-QEMU_DVD-ROM_{}",
    "usb-QEMU_QEMU_HARDDISK_{}-0:0",
)
_VPD_HEADER = 4


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
        if source.format_if_empty and not source.read_only:
            formatting.ensure(device)
            checking.check(device)
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
    for name in (f"virtio-{short}", *(name.format(serial) for name in LINKS)):
        link = by_id / name
        if link.exists():
            return os.path.realpath(str(link))
    for directory in sorted(sys_block.glob("*")):
        if _serial(directory) in {serial, short}:
            return f"/dev/{directory.name}"
    raise DiskError(f"the machine has no disk with the serial number {serial}")


def _serial(directory: Path) -> str:
    for path in (directory / "serial", directory / "device" / "serial"):
        if path.exists():
            return path.read_text(encoding="ascii", errors="replace").strip()
    page = directory / "device" / "vpd_pg80"  # SCSI's, which SATA and USB speak too (SPC-4, unit serial number)
    if page.exists():
        return page.read_bytes()[_VPD_HEADER:].decode("ascii", errors="replace").strip(" \0")
    return ""
