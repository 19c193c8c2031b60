"""The NoCloud seed itself: a directory, or a small disk with the label ``cidata``.

See cloud-init's documentation, "NoCloud": https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_LABELS = ("cidata", "CIDATA")


class NoSeed(Exception):
    """There is none, or it cannot be read; the message is one line."""


class Seed(NamedTuple):
    """The files of a seed; empty when they are missing. ``meta_data`` and ``network_config`` may be JSON or YAML."""

    user_data: bytes
    meta_data: bytes
    network_config: bytes


def read(source: Path | None, patience: float = 10.0) -> Seed:
    """Read the seed in a directory, on a disk, or (None) on the disk with the label, waited for ``patience`` seconds.

    Raises:
        NoSeed: there is none.
    """
    place = source or _find(patience)
    if place.is_dir():
        return _files(place)
    with tempfile.TemporaryDirectory(prefix="cidata-") as mount_point:
        done = subprocess.run(
            ["mount", "-o", "ro,nosuid,nodev,noexec", str(place), mount_point],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoSeed(f"{place} cannot be mounted: {' '.join(done.stderr.split())}")
        try:
            return _files(Path(mount_point))
        finally:
            subprocess.run(["umount", mount_point], check=False)


def _find(patience: float) -> Path:
    deadline = time.monotonic() + patience
    while True:
        for label in _LABELS:
            path = Path("/dev/disk/by-label") / label
            if path.exists():
                return path
        if time.monotonic() > deadline:
            raise NoSeed("there is no disk with the label cidata")
        time.sleep(0.1)


def _files(directory: Path) -> Seed:
    def content(name: str) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return (directory / name).read_bytes()
        return b""

    seed = Seed(content("user-data"), content("meta-data"), content("network-config"))
    if not seed.user_data and not seed.meta_data:
        raise NoSeed(f"{directory} holds no NoCloud seed")
    return seed
