"""Mounts, by ``mount(8)``: util-linux and busybox both have it, and it knows every file system's helper."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple, Sequence

TIMEOUT_SECONDS = 120


class MountFailed(Exception):
    """Something could not be mounted; the message says what and why."""


class MountPoint(NamedTuple):
    """A line of ``/proc/self/mounts``."""

    device: str
    path: str
    type: str
    options: list[str]


def mount_points(table: str = "/proc/self/mounts") -> dict[str, MountPoint]:
    """What is mounted, by path; of two mounts on one path the upper one."""
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - procfs
        return {point.path: point for point in map(parse_line, lines)}


def parse_line(line: str) -> MountPoint:
    """One line in the form of fstab(5): spaces and such are octal escapes."""
    device, path, kind, options = [_unescape(field) for field in line.split(" ")[:4]]
    return MountPoint(device, path, kind, options.split(","))


def is_mounted(path: str) -> bool:
    """Whether something is mounted exactly there."""
    return os.path.realpath(path) in mount_points()


def is_stale(path: str, table: str = "/proc/self/mountinfo") -> bool:
    """Whether what is mounted exactly there has been removed since: a file of a volume that was replaced by a newer."""
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - procfs
        mounts = [line.split(" ")[3:5] for line in lines]
    roots = [root for root, point in mounts if _unescape(point) == os.path.realpath(path)]
    return bool(roots) and roots[-1].endswith("//deleted")


def tmpfs(path: str, *, size: int = 0, mode: int = 0o755) -> None:
    """Mount an empty tmpfs of at most ``size`` bytes (0: half of the memory, the kernel's own limit).

    Raises:
        MountFailed: it was refused.
    """
    options = f"mode={mode:04o},nosuid,nodev" + (f",size={size}" if size else "")
    mount(["-t", "tmpfs", "-o", options, "tmpfs", path])


def bind(source: str, target: str, *, read_only: bool) -> None:
    """Show ``source`` at ``target`` too.

    Raises:
        MountFailed: it was refused.
    """
    mount(["-o", "bind", source, target])
    if read_only:  # the kernel ignores "ro" in the first call
        mount(["-o", "remount,bind,ro", target])


def mount(arguments: Sequence[str]) -> None:
    """Run ``mount``.

    Raises:
        MountFailed: it was refused, or there is no such program.
    """
    _run(["mount", *arguments])


def unmount(path: str) -> None:
    """Run ``umount``.

    Raises:
        MountFailed: it is in use, or not mounted.
    """
    _run(["umount", path])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MountFailed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise MountFailed(f"{' '.join(command)}: {said}")


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
