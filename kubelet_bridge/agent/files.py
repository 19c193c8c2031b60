"""Files that must survive a power cut whole: written beside, synced, and moved into place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` in one step; blocks for as long as the disk takes."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    handle = os.open(str(staged), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)  # the file may be there from before, with another mode
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync_directory(path.parent)


def make_directories(path: Path, mode: int) -> None:
    """Make ``path`` and what is missing above it with exactly this mode, whatever our umask; others keep theirs."""
    if path.is_dir():
        return
    make_directories(path.parent, mode)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(mode)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    handle = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """``replace_file`` with a JSON object, readable by root only."""
    replace_file(path, json.dumps(document, separators=(",", ":")).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is none, or none that can be understood (it is then set aside)."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        _set_aside(path)
        return None
    if isinstance(document, dict):
        return document
    _set_aside(path)
    return None


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(f"{path.name}.damaged"))
    except OSError:
        pass  # it will be replaced by the next write
