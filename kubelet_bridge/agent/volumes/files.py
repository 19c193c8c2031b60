"""ConfigMaps, Secrets and what is projected: files that are replaced all at once.

As a kubelet's AtomicWriter does it, so programs that watch for it see the same: the files lie in ``..<time>``,
``..data`` is a link to that directory, and each visible name is a link through ``..data``. Replacing ``..data``
replaces everything.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Dict, Tuple

from kubelet_bridge.agent.files import make_directories
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import emptydir
from kubelet_bridge.agent.volumes.ownership import give_to_group

DATA = "..data"
DEFAULT_MODE = 0o644
# As the API has it (validation.go): no set-user-id or the like.
MODES = 0o777
DIRECTORY_MODE = 0o755

Content = Dict[str, Tuple[bytes, int]]
"""Relative path to content and mode."""


class InvalidPath(OSError):
    """A file's path leads out of its volume."""


def read_only(manifest: pb.PodManifest, mount: pb.Mount) -> bool:
    """Whether the mount may not be written to: its own wish, and for files always, as a kubelet has it.

    We write into such a volume as root; a container that could put links there would lead us anywhere.
    """
    return mount.read_only or any(
        volume.name == mount.volume and volume.WhichOneof("source") == "files" for volume in manifest.volumes
    )


def prepare(source: pb.Files, place: Path, group: int | None) -> str:
    """Write the files unless they are there as they should be.

    Raises:
        InvalidPath: a path is absolute, empty, or has a part that begins with ``..``.
        OSError, MountFailed: they cannot be written, or secret ones would have to be on a disk.
    """
    wanted = {file.path: (file.content, file.mode & MODES or DEFAULT_MODE) for file in source.files}
    for path in wanted:
        _check(path)
    make_directories(place, DIRECTORY_MODE)
    if source.secret and not emptydir.lies_in_memory(place):
        emptydir.in_memory(place)
    if not _is_current(place, wanted, group):
        _replace(place, wanted, group)
    _link(place, {path.split("/")[0] for path in wanted})
    return str(place)


def _check(path: str) -> None:
    parts = path.split("/")
    if "\0" in path or any(not part or part == "." or part.startswith("..") for part in parts):
        raise InvalidPath(f"{path!r} is not a path inside a volume")


def _is_current(place: Path, wanted: Content, group: int | None) -> bool:
    data = place / DATA
    if not data.is_dir():
        return False
    found = {str(path.relative_to(data)): path for path in data.rglob("*") if not path.is_dir()}
    if set(found) != set(wanted) or (group is not None and data.stat().st_gid != group):
        return False
    return all(_same(found[name], content, _grouped(mode, group)) for name, (content, mode) in wanted.items())


def _same(path: Path, content: bytes, mode: int) -> bool:
    return stat.S_IMODE(os.lstat(str(path)).st_mode) == mode and path.read_bytes() == content


def _grouped(mode: int, group: int | None) -> int:
    return mode if group is None else mode | 0o440


def _replace(place: Path, wanted: Content, group: int | None) -> None:
    """Write beside, then turn ``..data`` around in one step, then forget what it led to."""
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime())
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=str(place)))
    fresh.chmod(DIRECTORY_MODE)
    for name, (content, mode) in wanted.items():
        path = fresh / name
        make_directories(path.parent, DIRECTORY_MODE)
        path.write_bytes(content)
        path.chmod(mode)
    give_to_group(str(fresh), group, read_only=True)
    staged = place / "..data_tmp"
    if staged.is_symlink():
        staged.unlink()
    staged.symlink_to(fresh.name)
    staged.replace(place / DATA)
    for old in place.glob("..[0-9]*"):
        if old.name != fresh.name:
            shutil.rmtree(str(old), ignore_errors=True)


def _link(place: Path, names: set[str]) -> None:
    """One link per name, and no others of ours."""
    for name in names:
        link = place / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for link in place.iterdir():
        if link.is_symlink() and link.name not in names and os.readlink(str(link)) == f"{DATA}/{link.name}":
            link.unlink()
