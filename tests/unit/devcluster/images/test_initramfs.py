import shutil
import subprocess

import pytest

from kubelet_bridge.devcluster.images import initramfs
from kubelet_bridge.errors import Terminal

DEPENDENCIES = """\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/block/virtio-blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/fs/ext4.ko:
"""


def test_modules_are_loaded_after_what_they_need_and_once() -> None:
    order = initramfs.load_order(DEPENDENCIES, ["virtio_blk", "virtio", "ext4"])
    names = [path.rpartition("/")[2] for path in order]
    assert names == ["virtio_ring.ko", "virtio.ko", "virtio-blk.ko", "ext4.ko"]


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(Terminal, match="no module nvme"):
        initramfs.load_order(DEPENDENCIES, ["nvme"])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio")
def test_cpio_reads_the_archive(tmp_path: object) -> None:
    archive = initramfs.cpio(
        [("dev", 0o040755, b""), ("init", 0o100755, b"\x7fELF"), ("modules", 0o100644, b"/a.ko\n")]
    )
    said = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True)
    assert said.stdout.decode().split() == ["dev", "init", "modules"]


def test_the_archive_is_aligned_and_closed() -> None:
    archive = initramfs.cpio([("init", 0o100755, b"12345")])
    assert archive.startswith(b"070701")
    assert len(archive) % 4 == 0
    assert b"TRAILER!!!\0" in archive
