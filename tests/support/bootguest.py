"""A disk image in QEMU, without a cluster: switched on, reset, killed, and read on its serial line."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from kubelet_bridge.devcluster.devhost.qemu import qmp
from kubelet_bridge.devcluster.devhost.qemu.accelerator import Accelerator
from kubelet_bridge.devcluster.devhost.qemu.storage import qemu_img


class Machine:
    """One machine with a copy-on-write layer over ``image``, which stays as it is when the machine is killed."""

    def __init__(self, directory: Path, image: Path, accelerator: Accelerator) -> None:
        self._layer, self._console, self._socket = (directory / name for name in ("layer.qcow2", "console", "qmp"))
        self._accelerator = accelerator
        self._process: subprocess.Popen[bytes] | None = None
        qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(self._layer))

    def start(self) -> None:
        disk = {"driver": "qcow2", "node-name": "root", "file": {"driver": "file", "filename": str(self._layer)}}
        self._process = subprocess.Popen([
            "qemu-system-x86_64", "-machine", "q35", *self._accelerator.arguments, "-smp", "2", "-m", "1024",
            "-nodefaults", "-display", "none", "-blockdev", json.dumps(disk),
            "-device", "virtio-blk-pci,drive=root,bootindex=1", "-device", "virtio-rng-pci",
            "-chardev", f"file,id=serial,path={self._console},append=on", "-device", "isa-serial,chardev=serial",
            "-qmp", f"unix:{self._socket},server=on,wait=off",
        ])  # fmt: skip

    def kill(self) -> None:
        """Nothing in it hears of it: its file systems stay as they are."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def reset(self) -> None:
        """Press the reset button."""
        connection = await qmp.connect(self._socket, _ignore, lambda: None)
        try:
            await connection.execute("qmp_capabilities")
            await connection.execute("system_reset")
        finally:
            connection.close()

    async def says(self, wanted: bytes, times: int) -> None:
        """Return once it has said ``wanted`` so often since it was made."""
        while (await asyncio.to_thread(self._heard)).count(wanted) < times:
            await asyncio.sleep(0.2)

    def _heard(self) -> bytes:
        return self._console.read_bytes() if self._console.exists() else b""


def _ignore(_name: str, _data: dict[str, Any]) -> None:
    """No event matters here."""
