"""Mends a file system before it is mounted to be written, as far as that can be done without asking anybody.

As a kubelet does (``k8s.io/mount-utils``, ``checkAndRepairFilesystem``): what cannot be mended so is not mounted, for
writing to it would make it worse.
"""

from __future__ import annotations

import subprocess

from kubelet_bridge.agent.volumes.blank import DiskError

CHECK_SECONDS = 3600
_LEFT_UNCORRECTED = 4  # exit code of fsck(8)


def check(device: str) -> None:
    """Replay its journal and mend what is harmless to mend; nothing happens where there is no ``fsck`` for it.

    Raises:
        DiskError: it has errors that somebody has to look at.
    """
    try:
        done = subprocess.run(
            ["fsck", "-a", device],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_SECONDS,
            check=False,
            cwd="/",
        )
    except FileNotFoundError:
        return
    except subprocess.TimeoutExpired as error:
        raise DiskError(f"{device} cannot be checked: {error}") from error
    if done.returncode == _LEFT_UNCORRECTED:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise DiskError(f"fsck found errors on {device} but could not correct them: {said}")
