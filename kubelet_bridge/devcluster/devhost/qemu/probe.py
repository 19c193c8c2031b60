"""A probe guest: whether a virtual processor runs 64-bit code, and faster than if it were interpreted.

KVM may open and still be of no use: nested in a machine that has to interpret its guests, an ordinary kernel would be
minutes in unpacking itself. So the guest (``probe.S``) works for a while before it reports.
"""

import select
import subprocess
import tempfile
from pathlib import Path

from kubelet_bridge.devcluster.devhost.qemu import PROGRAM

MESSAGE = b"64-bit guest runs\r\n"
SECONDS = 5.0
"""Emulation takes a third of a second on the slowest machine this was tried on."""

_DISK_SIZE = 1 << 20
"""SeaBIOS boots from nothing smaller."""

_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cbf00106631c0b9000cfc66f3ab66c70600100320000066c70600200330000066c70600308300000066b8"
    "a00000000f22e066b8001000000f22d866b9800000c00f320d00010f3066b8110000800f22c00f0116a07c66ea697c00000800b90000"
    "0004010c2500500000ffc975f548c7c6a67c000066baf803ac84c07403eeebf8f4ebfd90000000000000000000000000009a20000f00"
    "907c000036342d6269742067756573742072756e730d0a"
)
SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"


def run(arguments: tuple[str, ...], directory: Path) -> str:
    """Boot the probe with QEMU's ``arguments``; what went wrong, or nothing. Blocks for ``SECONDS`` at most."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".probe-") as disk:
        disk.write(SECTOR.ljust(_DISK_SIZE, b"\0"))
        disk.flush()
        command = [
            PROGRAM, *arguments, "-machine", "q35", "-m", "32", "-nodefaults", "-display", "none", "-serial", "stdio",
            "-drive", f"file={disk.name},format=raw,if=virtio,read-only=on",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                return _verdict(process)
            finally:
                process.kill()


def _verdict(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    assert process.stderr is not None  # noqa: S101
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    if not ready:
        return f"a probe guest did not finish within {SECONDS:g} s"
    if process.stdout.readline() == MESSAGE:
        return ""
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    return said[-1][:200] if said else "QEMU ended"
