"""The programs that this mode runs, and Debian's packages that have them."""

import shutil

from kubelet_bridge.devcluster.devhost.qemu import PROGRAM
from kubelet_bridge.devcluster.devhost.qemu.iso import PROGRAM as XORRISOFS
from kubelet_bridge.errors import Terminal

_PACKAGES = {PROGRAM: "qemu-system-x86", "qemu-img": "qemu-utils", XORRISOFS: "xorriso"}


def missing() -> list[str]:
    """Debian packages that this machine lacks for mode ``qemu``."""
    return [package for program, package in _PACKAGES.items() if shutil.which(program) is None]


def check() -> None:
    """Do nothing if guests can run here.

    Raises:
        Terminal: a program is missing; the message says how to get it.
    """
    if lacking := missing():
        raise Terminal(f"mode qemu needs: apt-get install --no-install-recommends {' '.join(lacking)}")
