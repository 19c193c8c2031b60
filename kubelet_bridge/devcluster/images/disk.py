"""A root file system (a tar archive) becomes a disk that boots under SeaBIOS: no loop device, no mount, no guest."""

import os
import re
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from kubelet_bridge.devcluster.images import bootsector, initramfs
from kubelet_bridge.devcluster.images.recipe import EPOCH, Disk
from kubelet_bridge.devcluster.images.tools import GRUB_DIRECTORY, run
from kubelet_bridge.errors import Terminal

_KERNEL, _INITRD = "boot/vmlinuz", "boot/initrd.img"
_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "boot")
_OFFSET = bootsector.PARTITION_START * bootsector.SECTOR


def build(archive: Path, disk: Disk, target: Path, scratch: Path, change: Callable[[Path], None]) -> None:
    """Write ``target``, a qcow2 of the file system in ``archive``. Blocks for some seconds; needs root.

    Args:
        archive: tar of the root file system, with one kernel and tiny-initramfs in it.
        disk: what it is put on.
        target: replaced when the disk is whole.
        change: called with the directory of the file system, to add to it.
        scratch: for temporary files, some gigabytes.

    Raises:
        Terminal: a tool failed, with what it said.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="disk-") as directory:
        root, raw, packed = (Path(directory) / name for name in ("root", "disk.raw", "disk.qcow2"))
        root.mkdir()
        run(
            "tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", str(root), "-f", str(archive)
        )
        change(root)
        _add_boot_files(root, disk)
        _write_raw(root, disk, raw)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed))
        packed.replace(target)


def _add_boot_files(root: Path, disk: Disk) -> None:
    """Kernel and initramfs under names that do not change: what loads them looks them up by name."""
    kernel = next((root / "boot").glob("vmlinuz-*"))
    (root / _KERNEL).symlink_to(kernel.name)
    (root / _INITRD).write_bytes(initramfs.build(root, disk.modules))
    for path in (root / _KERNEL, root / _INITRD, root / "boot", root):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _write_raw(root: Path, disk: Disk, raw: Path) -> None:
    size = disk.mebibytes << 20
    core = raw.with_name("core.img")
    configuration = raw.with_name("grub.cfg")
    configuration.write_text(grub_configuration(disk))
    run("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", str(configuration), "-o", str(core), *_GRUB_MODULES)
    with raw.open("wb") as file:
        boot = (GRUB_DIRECTORY / "boot.img").read_bytes()
        disk_id = uuid.UUID(disk.uuid).int & 0xFFFFFFFF
        file.write(bootsector.boot_area(boot, core.read_bytes(), size // bootsector.SECTOR, disk_id))
        file.truncate(size)
    _make_file_system(root, disk, raw, (size - _OFFSET) // 4096)
    _set_change_times(raw)


def grub_configuration(disk: Disk) -> str:
    """What GRUB does: nothing is asked, nothing waited for, nothing else can be booted."""
    return (
        f"set root=(hd0,msdos1)\nlinux /{_KERNEL} root=UUID={disk.uuid} rw {disk.arguments}\ninitrd /{_INITRD}\nboot\n"
    )


def _make_file_system(root: Path, disk: Disk, raw: Path, blocks: int) -> None:
    """Inode tables and journal are made now: made later, they are the guest's first minutes of writing."""
    options = f"offset={_OFFSET},hash_seed={disk.uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-i", "32768", "-J", "size=32", "-m", "0", "-L", "root",
        "-U", disk.uuid, "-E", options, "-d", str(root), str(raw), str(blocks),
        environment={"E2FSPROGS_FAKE_TIME": str(EPOCH), "MKE2FS_CONFIG": "/dev/null"},
    )  # fmt: skip


def _set_change_times(raw: Path) -> None:
    """mke2fs copies the inode change and access times, which are when we unpacked the files. Set them all alike."""
    said = run("debugfs", "-R", "stats -h", f"{raw}?offset={_OFFSET}")
    last = _number(said, "Inode count") - _number(said, "Free inodes")  # mke2fs hands them out from the first on
    commands = "".join(
        f"sif <{inode}> {field} @{EPOCH}\nsif <{inode}> {field}_extra 0\n"
        for inode in (2, *range(11, last + 1))
        for field in ("ctime", "atime")
    )
    script = raw.with_name("times")
    script.write_text(commands)
    run("debugfs", "-w", "-f", str(script), f"{raw}?offset={_OFFSET}", environment={"E2FSPROGS_FAKE_TIME": str(EPOCH)})


def _number(said: str, field: str) -> int:
    """A field of the superblock, as debugfs prints it."""
    found = re.search(rf"^{field}:\s+(\d+)", said, re.MULTILINE)
    if found is None:
        raise Terminal(f"debugfs tells no {field!r}")
    return int(found[1])
