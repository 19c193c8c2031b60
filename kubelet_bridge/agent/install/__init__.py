"""How the agent gets onto a machine: texts for cloud-init and for those who build images.

Nothing here runs in the agent; nothing here depends on anything but the files beside it.
"""

from __future__ import annotations

import pkgutil
from typing import NamedTuple

INSTALLER_PATH = "/etc/kubelet-bridge/install.sh"
"""Where cloud-init puts the installer, and what it then runs with ``sh``."""


class InstalledFile(NamedTuple):
    """A file for an image, owned by root."""

    path: str
    mode: int
    content: str


def installer() -> str:
    """A POSIX sh script, whole: it fetches the agent that ``agent.json`` names, installs its units and starts it."""
    script = _text("install.sh")
    for mark, content in _parts().items():
        script = script.replace(f"@{mark}@", content.rstrip("\n"))
    return script


def systemd_files() -> list[InstalledFile]:
    """The two units; ``systemctl enable`` takes their names."""
    return [
        InstalledFile(f"/etc/systemd/system/{name}", 0o644, _text(name))
        for name in ("kubelet-bridge-agent.service", "kubelet-bridge-workload.service")
    ]


def openrc_files() -> list[InstalledFile]:
    """The two scripts; ``rc-update add`` takes their names."""
    return [
        InstalledFile(f"/etc/init.d/{name}", 0o755, _text(f"{name}.openrc"))
        for name in ("kubelet-bridge-agent", "kubelet-bridge-workload")
    ]


def _parts() -> dict[str, str]:
    return {
        "FETCH": _resource("kubelet_bridge.agent", "fetch.py"),
        "AGENT_SERVICE": _text("kubelet-bridge-agent.service"),
        "WORKLOAD_SERVICE": _text("kubelet-bridge-workload.service"),
        "AGENT_OPENRC": _text("kubelet-bridge-agent.openrc"),
        "WORKLOAD_OPENRC": _text("kubelet-bridge-workload.openrc"),
    }


def _text(name: str) -> str:
    return _resource(__name__, name)


def _resource(package: str, name: str) -> str:
    content = pkgutil.get_data(package, name)
    if content is None:
        raise FileNotFoundError(f"{package} was installed without {name}")
    return content.decode()
