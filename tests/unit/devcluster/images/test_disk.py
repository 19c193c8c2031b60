"""Disks as they are written: of a root file system as small as one can be."""

import os
import re
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.images import bootsector, disk, tools
from kubelet_bridge.devcluster.images.recipe import Disk

pytestmark = [
    pytest.mark.skipif(bool(tools.missing()), reason=f"not installed: {', '.join(tools.missing())}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="files in images belong to root"),
]

DISK = Disk(256, "6b756265-6c65-4274-8272-69646765a0ff", "console=ttyS0", ("virtio_blk",))
KERNEL = b"a kernel, or something like it\n"
FILES = {
    "boot/vmlinuz-6": KERNEL,
    "usr/lib/modules/6/modules.dep": b"virtio_blk.ko:\n",
    "usr/lib/modules/6/virtio_blk.ko": b"a module",
    "usr/lib/x86_64-linux-gnu/tiny-initramfs/init-static": b"a program",
    "etc/hostname": b"small\n",
}
BOOT, ROOT = bootsector.BOOT_START * bootsector.SECTOR, bootsector.ROOT_START * bootsector.SECTOR


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path, tree = tmp_path / "root.tar", tmp_path / "tree"
    for name, data in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    with tarfile.open(path, "w") as tar:
        tar.add(tree, ".")
    return path


def written(archive: Path, name: str) -> Path:
    """The disk of a file system that has just been unpacked."""
    target = archive.with_name(name)
    disk.build(archive, DISK, target, archive.parent, lambda _: None)
    return target


def raw(archive: Path) -> Path:
    path = archive.with_name("disk.raw")
    tools.run("qemu-img", "convert", "-O", "raw", str(written(archive, "disk.qcow2")), str(path))
    return path


def test_the_same_files_make_the_same_disk_whenever_they_are_unpacked(archive: Path) -> None:
    first = written(archive, "one")
    time.sleep(1.1)  # inode change times are kept in whole seconds
    assert written(archive, "two").read_bytes() == first.read_bytes()


def test_both_file_systems_are_sound(archive: Path) -> None:
    path = raw(archive)
    for offset in (BOOT, ROOT):
        tools.run("e2fsck", "-f", "-n", f"{path}?offset={offset}")
    said = tools.run("dumpe2fs", "-h", f"{path}?offset={ROOT}")
    features = re.search(r"^Filesystem features:\s+(.*)$", said, re.MULTILINE)
    assert features is not None
    assert {"has_journal", "extent", "metadata_csum", "flex_bg", "ext_attr"} <= set(features[1].split())
    assert DISK.uuid in said


def test_grub_reads_the_kernel_whatever_became_of_the_root_file_system(archive: Path) -> None:
    path = raw(archive)
    with path.open("r+b") as file:
        file.truncate(ROOT)
        file.truncate(DISK.mebibytes << 20)
    found = subprocess.run(
        ["grub-fstest", path, "cat", "(loop0,msdos1)/vmlinuz"], capture_output=True, check=True, timeout=20
    )
    assert found.stdout == KERNEL
    script = disk.grub_configuration(DISK)
    assert "set root=(hd0,msdos1)\nlinux /vmlinuz " in script
    assert f"root=UUID={DISK.uuid}" in script
