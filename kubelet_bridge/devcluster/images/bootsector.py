"""The first mebibyte of a disk: GRUB's boot sector with the partition table, then GRUB itself, then the partitions.

GRUB's boot.img loads the sector after itself, core.img's first, which loads the rest of core.img from the sectors that
follow (grub-core/boot/i386/pc/{boot,diskboot}.S; grub-mkimage has written into it how many). Both images already assume
these places, so that nothing has to be patched into them, as grub-install would from inside.
"""

import struct

from kubelet_bridge.errors import Terminal

SECTOR = 512
BOOT_START = 2048
"""Sectors before the first partition, which has the kernel: nothing writes to it once the disk is made."""

ROOT_START = 65536
"""Sectors before the second one, the root file system's, which is the rest of the disk."""

_TABLE, _SIGNATURE = 446, b"\x55\xaa"
_DISK_ID = 440
_LINUX, _ACTIVE = 0x83, 0x80
_NO_CYLINDERS = b"\xfe\xff\xff"
"""CHS addresses of a disk that is addressed by sector number only."""


def boot_area(boot: bytes, core: bytes, disk_sectors: int, disk_id: int) -> bytes:
    """Sectors 0 to ``BOOT_START``, for two Linux partitions; the first one is active.

    Args:
        boot: GRUB's boot.img, one sector.
        core: core.img of grub-mkimage for ``i386-pc``.
        disk_sectors: size of the disk.
        disk_id: its signature, 32 bits.

    Raises:
        Terminal: GRUB does not fit before the partitions, or the images are not what they should be.
    """
    if len(boot) != SECTOR or not boot.endswith(_SIGNATURE):
        raise Terminal("GRUB's boot.img is not one boot sector")
    if len(core) > (BOOT_START - 1) * SECTOR:
        raise Terminal(f"GRUB's core.img has {len(core)} bytes: it does not fit before the partitions")
    if disk_sectors <= ROOT_START:
        raise Terminal(f"a disk of {disk_sectors} sectors has no room for a root partition")
    table = _partition(_ACTIVE, BOOT_START, ROOT_START) + _partition(0, ROOT_START, disk_sectors)
    sector = bytearray(boot)
    sector[_DISK_ID : _DISK_ID + 4] = struct.pack("<I", disk_id)
    sector[_TABLE : _TABLE + 64] = table.ljust(64, b"\0")
    return (bytes(sector) + core).ljust(BOOT_START * SECTOR, b"\0")


def _partition(status: int, start: int, end: int) -> bytes:
    return struct.pack("<B3sB3sII", status, _NO_CYLINDERS, _LINUX, _NO_CYLINDERS, start, end - start)
