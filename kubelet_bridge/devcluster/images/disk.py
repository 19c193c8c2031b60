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

_KERNEL, _INITRD = "vmlinuz", "initrd.img"
_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "boot", "serial", "terminal")
_BLOCK = 4096

_BOOT_OPTIONS = ("-t", "ext2", "-L", "boot")
_ROOT_OPTIONS = (
    "-t", "ext4", "-i", "32768", "-J", "size=32", "-L", "root",
    "-O", "64bit,dir_nlink,ext_attr,extent,extra_isize,flex_bg,huge_file,metadata_csum",
)  # fmt: skip
"""What Debian's mke2fs.conf says of ext4: this machine's is not read, as it may say something else."""


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
        _write_raw(root, disk, raw)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed))
        packed.replace(target)


def _write_raw(root: Path, disk: Disk, raw: Path) -> None:
    sectors = (disk.mebibytes << 20) // bootsector.SECTOR
    with raw.open("wb") as file:
        boot = (GRUB_DIRECTORY / "boot.img").read_bytes()
        disk_id = uuid.UUID(disk.uuid).int & 0xFFFFFFFF
        file.write(bootsector.boot_area(boot, _grub(disk, raw.parent), sectors, disk_id))
        file.truncate(sectors * bootsector.SECTOR)
    loaded = _boot_directory(root, disk, raw.with_name("boot"))
    own = str(uuid.uuid5(uuid.UUID(disk.uuid), "boot"))
    _make_file_system(loaded, raw, (bootsector.BOOT_START, bootsector.ROOT_START), own, _BOOT_OPTIONS)
    _make_file_system(root, raw, (bootsector.ROOT_START, sectors), disk.uuid, _ROOT_OPTIONS)


def _boot_directory(root: Path, disk: Disk, directory: Path) -> Path:
    """Kernel and initramfs under names that do not change: what loads them looks them up by name.

    They are on a file system of their own, which a guest never mounts. What GRUB reads is there whatever became of the
    root file system, whose journal GRUB cannot replay.
    """
    directory.mkdir()
    (directory / _KERNEL).write_bytes(next((root / "boot").glob("vmlinuz-*")).read_bytes())
    (directory / _INITRD).write_bytes(initramfs.build(root, disk.modules))
    for path in (*directory.iterdir(), directory, root):
        os.utime(path, (EPOCH, EPOCH))
    return directory


def _grub(disk: Disk, scratch: Path) -> bytes:
    """GRUB's core image, with all that it has to know."""
    core, configuration = scratch / "core.img", scratch / "grub.cfg"
    configuration.write_text(grub_configuration(disk))
    run("grub-mkimage", "-O", "i386-pc", "-p", "/", "-c", str(configuration), "-o", str(core), *_GRUB_MODULES)
    return core.read_bytes()


def grub_configuration(disk: Disk) -> str:
    """What GRUB does: nothing is asked, nothing waited for. It says on both consoles what fails."""
    return (
        "serial --unit=0 --speed=115200\nterminal_output console serial\n"
        f"set root=(hd0,msdos1)\nlinux /{_KERNEL} root=UUID={disk.uuid} rw {disk.arguments}\ninitrd /{_INITRD}\nboot\n"
    )


def _make_file_system(root: Path, raw: Path, sectors: tuple[int, int], own: str, options: tuple[str, ...]) -> None:
    """Fill ``sectors`` (first, end) of ``raw`` with a file system that holds ``root``; ``own`` is its UUID.

    Inode tables and journal are made now: made later, they are the guest's first minutes of writing.
    """
    start, size = sectors[0] * bootsector.SECTOR, (sectors[1] - sectors[0]) * bootsector.SECTOR
    extended = f"offset={start},hash_seed={own},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    run(
        "mke2fs", "-q", "-F", "-b", str(_BLOCK), "-I", "256", "-m", "0", "-U", own, *options, "-E", extended,
        "-d", str(root), str(raw), str(size // _BLOCK),
        environment={"E2FSPROGS_FAKE_TIME": str(EPOCH), "MKE2FS_CONFIG": "/dev/null"},
    )  # fmt: skip
    _set_change_times(f"{raw}?offset={start}", raw.with_name("times"))


def _set_change_times(file_system: str, script: Path) -> None:
    """mke2fs copies the inode change and access times, which are when we unpacked the files. Set them all alike."""
    said = run("debugfs", "-R", "stats -h", file_system)
    last = _number(said, "Inode count") - _number(said, "Free inodes")  # mke2fs hands them out from the first on
    commands = "".join(
        f"sif <{inode}> {field} @{EPOCH}\nsif <{inode}> {field}_extra 0\n"
        for inode in (2, *range(11, last + 1))
        for field in ("ctime", "atime")
    )
    script.write_text(commands)
    run("debugfs", "-w", "-f", str(script), file_system, environment={"E2FSPROGS_FAKE_TIME": str(EPOCH)})


def _number(said: str, field: str) -> int:
    """A field of the superblock, as debugfs prints it."""
    found = re.search(rf"^{field}:\s+(\d+)", said, re.MULTILINE)
    if found is None:
        raise Terminal(f"debugfs tells no {field!r}")
    return int(found[1])
