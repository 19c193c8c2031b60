"""The agent as a part of an image: its file where it would be after an installation, and its modules compiled."""

import os
import zipfile
from pathlib import Path

from kubelet_bridge.agent import install
from kubelet_bridge.devcluster.images.recipe import EPOCH
from kubelet_bridge.devcluster.images.rootfs import Files
from kubelet_bridge.devcluster.images.tools import run
from kubelet_bridge.guest.bundle import Bundle
from kubelet_bridge.translate.agentseed import INSTALLED_MARK

_AGENTS = "var/lib/kubelet-bridge/agent"
_COMPILED = "usr/lib/kubelet-bridge/agents"
"""Where ``images/runtime/files/usr/lib/kubelet-bridge/agent.py`` looks for compiled modules, by digest."""


def unit_files() -> Files:
    """The agent's units; they hardly ever change, and the recipe's ``setup`` enables them."""
    return {file.path.lstrip("/"): (file.mode, file.content.encode()) for file in install.systemd_files()}


def add(root: Path, bundle: Bundle) -> None:
    """Put the agent into the file system in ``root``. Blocks for some seconds; needs root.

    Raises:
        Terminal: the image's Python cannot compile it.
    """
    agents, compiled = root / _AGENTS, root / _COMPILED / bundle.digest
    agents.mkdir(mode=0o700, parents=True)
    agents.parent.chmod(0o700)
    (agents / f"{bundle.digest}.pyz").write_bytes(bundle.path.read_bytes())
    (agents / "current.pyz").symlink_to(f"{bundle.digest}.pyz")
    (root / INSTALLED_MARK.lstrip("/")).touch()
    with zipfile.ZipFile(bundle.path) as archive:
        archive.extractall(compiled)
    run(
        "chroot", str(root), "python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
        f"/{_COMPILED}/{bundle.digest}", environment={"PYTHONHASHSEED": "0"},
    )  # fmt: skip
    for top in (agents.parent, compiled.parent):
        for path in (*top.rglob("*"), top, top.parent):
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
