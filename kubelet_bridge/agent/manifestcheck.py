"""Whether a manifest can be gone by at all. Its names become paths, units and keys of tables. Pure."""

from __future__ import annotations

import re
from typing import Iterable

from kubelet_bridge.agent.v1 import agent_pb2 as pb

# RFC 1123, as the API server checks names of containers and volumes.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_RUNTIMES = (pb.RUNTIME_PODMAN, pb.RUNTIME_HOST)


def problem(manifest: pb.PodManifest, pod_uid: str) -> str:
    """Why this manifest is not one for the Pod ``pod_uid``; empty when it is."""
    if manifest.pod_uid != pod_uid:
        return "it is another Pod's"
    if manifest.runtime not in _RUNTIMES:
        return f"this agent does not know runtime {manifest.runtime}; a newer one may"
    containers = (manifest.init_containers, manifest.containers, manifest.ephemeral_containers)
    return _names("container", [one.name for group in containers for one in group]) or _names(
        "volume", [one.name for one in manifest.volumes]
    )


def _names(kind: str, names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if not _LABEL.fullmatch(name):
            return f"{name[:80]!r} is not the name of a {kind}"
        if name in seen:
            return f"it has two {kind}s named {name}"
        seen.add(name)
    return ""
