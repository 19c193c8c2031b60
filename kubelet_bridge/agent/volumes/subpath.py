"""The part of a volume that a container sees."""

from __future__ import annotations

import os
from pathlib import Path

from kubelet_bridge.agent.driver import RunError

REASON = "CreateContainerConfigError"
# As a kubelet makes a missing one (pkg/volume/util/subpath: SafeMakeDir).
MODE = 0o750


def sub_path(volume: str, part: str) -> str:
    """The real path of ``part`` in the volume's directory; a directory is made if nothing is there.

    A container can put links into its volume, so the result is what it really leads to, and that is inside.

    Raises:
        RunError: ``CreateContainerConfigError``: it leads out of the volume, or cannot be made.
    """
    if not part:
        return volume
    if part.startswith("/") or ".." in part.split("/"):
        raise RunError(REASON, f"subPath {part!r} leads out of its volume")
    root = path = Path(os.path.realpath(volume))
    try:
        for name in filter(None, part.split("/")):
            path = Path(os.path.realpath(str(path / name)))
            if root not in (path, *path.parents):
                raise RunError(REASON, f"subPath {part!r} leads out of its volume")
            if not path.exists():
                path.mkdir(MODE)
    except OSError as error:
        raise RunError(REASON, f"failed to create subPath directory for {part!r}: {error.strerror}") from error
    return str(path)
