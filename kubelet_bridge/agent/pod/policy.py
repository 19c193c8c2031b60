"""Which containers there are, and what the restart policy says of one that ended. Pure."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from kubelet_bridge.agent.pod.record import Record
from kubelet_bridge.agent.v1 import agent_pb2 as pb

INIT = "init"
SIDECAR = "sidecar"
MAIN = "main"
EPHEMERAL = "ephemeral"


class Member(NamedTuple):
    """A container and its part in the Pod: one of the constants above."""

    part: str
    container: pb.Container


def members(manifest: pb.PodManifest) -> Iterator[Member]:
    """All containers, in the order of the manifest: init containers and sidecars, main ones, ephemeral ones."""
    for container in manifest.init_containers:
        yield Member(SIDECAR if container.sidecar else INIT, container)
    for container in manifest.containers:
        yield Member(MAIN, container)
    for container in manifest.ephemeral_containers:
        yield Member(EPHEMERAL, container)


def inits(manifest: pb.PodManifest) -> list[Member]:
    """Init containers and sidecars, in their order."""
    return [member for member in members(manifest) if member.part in (INIT, SIDECAR)]


def mains(manifest: pb.PodManifest) -> list[Member]:
    """The main containers."""
    return [member for member in members(manifest) if member.part == MAIN]


def starts_again(manifest: pb.PodManifest, part: str, record: Record) -> bool:
    """Whether a container is to be started, given how it ended; one that never ran is.

    An init container that succeeded does not start again; one that failed does, unless the policy is Never. A sidecar
    always does (KEP-753), an ephemeral container never.
    """
    if record.end is None:
        return not record.known
    if part == SIDECAR:
        return True
    if part == EPHEMERAL:
        return False
    if record.replace and part == MAIN:
        return True
    if manifest.restart_policy == pb.RESTART_POLICY_NEVER:
        return False
    if part == INIT or manifest.restart_policy == pb.RESTART_POLICY_ON_FAILURE:
        return record.end.exit_code != 0
    return True
