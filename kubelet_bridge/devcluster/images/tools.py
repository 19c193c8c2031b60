"""The programs that images are built with, and which of Debian's packages have them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kubelet_bridge.errors import Terminal

GRUB_DIRECTORY = Path("/usr/lib/grub/i386-pc")

_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "grub-mkimage": "grub-common",
    "tar": "tar",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where file system tools are, whatever the caller's own search path leaves out."""


def missing() -> list[str]:
    """Debian packages that building needs and this machine lacks."""
    lacking = {package for program, package in _PACKAGES.items() if shutil.which(program, path=_PATH) is None}
    if not (GRUB_DIRECTORY / "boot.img").exists():
        lacking.add("grub-pc-bin")
    return sorted(lacking)


def check() -> None:
    """Do nothing if images can be built here.

    Raises:
        Terminal: they cannot; the message says what to do.
    """
    if lacking := missing():
        raise Terminal(f"building images needs: apt-get install --no-install-recommends {' '.join(lacking)}")
    if os.geteuid() != 0:
        raise Terminal("building images needs root: files in them belong to root")


def run(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run one tool to its end; returns what it wrote to its standard output. Blocks.

    Raises:
        Terminal: it failed; the message ends with what it said last.
    """
    done = subprocess.run(
        [program, *arguments], env={**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Terminal(f"{program} failed: {' / '.join((done.stderr or done.stdout).strip().splitlines()[-4:])}")
    return done.stdout
