"""The files of volumes. Everything here blocks: call it in a thread.

A Block volume is one sparse file as large as the volume. A Filesystem volume is a directory; CDI and KubeVirt keep a
raw image ``disk.img`` in it.
"""

import os
import shutil
from pathlib import Path

from kubelet_bridge.errors import Terminal

IMAGE = "disk.img"
_BLOCK = "block"


class VolumeFiles:
    """The volumes below one directory, by name. Every operation may find its work done."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, name: str, size: int, *, block: bool) -> None:
        """Make a volume of ``size`` bytes that reads as zeros; one that is there keeps what it holds."""
        directory = self._directory(name)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if block:
            self.grow(name, size)

    def grow(self, name: str, size: int) -> None:
        """Make a Block volume at least ``size`` bytes long. A Filesystem volume has no size of its own."""
        descriptor = os.open(self._directory(name) / _BLOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove a volume and all it holds."""
        shutil.rmtree(self._directory(name), ignore_errors=True)

    def image(self, name: str, *, block: bool) -> Path:
        """The raw disk image that a volume is, or holds.

        Raises:
            Terminal: there is no such volume.
        """
        directory = self._directory(name)
        if not directory.is_dir():
            raise Terminal(f"volume {name}: its files are not there", reason="VolumeLost")
        return directory / (_BLOCK if block else IMAGE)

    def _directory(self, name: str) -> Path:
        """A volume's handle is written by whoever may make PersistentVolumes: it must not lead elsewhere."""
        if not name or name != Path(name).name or name in (".", ".."):
            raise Terminal(f"{name!r} is no name of a volume", reason="InvalidVolume")
        return self._root / name
