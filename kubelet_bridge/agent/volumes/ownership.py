"""What fsGroup does to a volume (pkg/volume/volume_linux.go): its files belong to the group, which may use them."""

# ruff: noqa: PTH101, PTH116, PTH118 - a volume may hold millions of files: plain strings

from __future__ import annotations

import os
import stat

_SHARED = 0o660
_SHARED_READ_ONLY = 0o440
_TRAVERSE = 0o110


def give_to_group(path: str, group: int | None, *, read_only: bool = False) -> None:
    """Let the group own everything below ``path``; nothing happens without a group, or when ``path`` is right already.

    Links are not followed: what they lead to is somebody else's.

    Raises:
        OSError: the file system does not keep owners.
    """
    if group is None or _is_right(path, group, read_only=read_only):
        return
    for directory, _, names in os.walk(path, topdown=False):
        for name in names:
            _give(os.path.join(directory, name), group, read_only=read_only)
        _give(directory, group, read_only=read_only)


def _is_right(path: str, group: int, *, read_only: bool) -> bool:
    """The top comes last, so when it is right the rest is (as with ``fsGroupChangePolicy: OnRootMismatch``)."""
    state = os.stat(path)
    wanted = _mode(state.st_mode, read_only=read_only)
    return state.st_gid == group and stat.S_IMODE(state.st_mode) == wanted


def _mode(mode: int, *, read_only: bool) -> int:
    wanted = stat.S_IMODE(mode) | (_SHARED_READ_ONLY if read_only else _SHARED)
    return wanted | stat.S_ISGID | _TRAVERSE if stat.S_ISDIR(mode) else wanted


def _give(path: str, group: int, *, read_only: bool) -> None:
    state = os.lstat(path)
    os.chown(path, -1, group, follow_symlinks=False)
    if not stat.S_ISLNK(state.st_mode):
        os.chmod(path, _mode(state.st_mode, read_only=read_only))
