"""What of a seed is done at once: the bridge's own files, the hostname, the network. The rest is left to cloud-init."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.seed import nocloud, userdata

OURS = "/etc/kubelet-bridge/"
_NETWORK = "etc/systemd/network/20-kubelet-bridge.network"


def apply(seed: nocloud.Seed, root: Path) -> list[str]:
    """Write it below ``root`` (``/`` on the machine itself); the paths that were written."""
    understood = userdata.parse(seed.user_data)
    written: list[str] = []
    for file in understood.files:
        if file.path.startswith(OURS) and ".." not in Path(file.path).parts:
            replace_file(root / file.path.lstrip("/"), file.content, file.mode)
            written.append(file.path)
    hostname = understood.hostname or _local_hostname(seed.meta_data)
    if hostname:
        replace_file(root / "etc/hostname", f"{hostname}\n".encode(), 0o644)
        written.append("/etc/hostname")
        if root == Path("/"):
            socket.sethostname(hostname)
    network = network_file(seed.network_config)
    if network:
        replace_file(root / _NETWORK, network.encode(), 0o644)
        written.append(f"/{_NETWORK}")
    return written


def network_file(network_config: bytes) -> str:
    """A systemd.network(5) for the interfaces that a version 2 network-config names; empty when it names none."""
    ethernets = _object(network_config).get("ethernets")
    if not isinstance(ethernets, dict) or not ethernets:
        return ""
    entries = [entry for entry in ethernets.values() if isinstance(entry, dict)]
    names: list[str] = []
    for key, entry in ethernets.items():
        match = entry.get("match") if isinstance(entry, dict) else None
        name = match.get("name") if isinstance(match, dict) else key
        if isinstance(name, str):
            names.append(name)
    v4, v6 = (any(entry.get(kind) for entry in entries) for kind in ("dhcp4", "dhcp6"))
    dhcp = {(True, True): "yes", (True, False): "ipv4", (False, True): "ipv6"}.get((v4, v6), "no")
    match_line = " ".join(names) or "en* eth*"
    return f"[Match]\nName={match_line}\n\n[Network]\nDHCP={dhcp}\n\n[DHCPv4]\nClientIdentifier=mac\nUseMTU=yes\n"


def _local_hostname(meta_data: bytes) -> str:
    document = _object(meta_data)
    name = document.get("local-hostname") or document.get("hostname")
    if isinstance(name, str):
        return name
    for line in meta_data.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "local-hostname":
            return value.strip().strip("'\"")
    return ""


def _object(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
