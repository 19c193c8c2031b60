"""Who a command runs as: from the manifest and the guest's own users."""

from __future__ import annotations

import grp
import pwd
from typing import NamedTuple

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.v1 import agent_pb2 as pb

REASON = "CreateContainerConfigError"
# The kernel keeps 2^32 - 1 for "no user".
MAX_ID = 2**32 - 2


class Identity(NamedTuple):
    """Numbers for the kernel, names for the environment; ``name`` is empty for a number nobody has."""

    uid: int
    gid: int
    groups: list[int]
    name: str
    home: str


def identity_of(manifest: pb.PodManifest, container: pb.Container) -> Identity:
    """The container's own settings before the Pod's; root when neither says.

    Raises:
        RunError: ``CreateContainerConfigError``: it must not be root but would be, or a number is impossible.
    """
    own, pod = container.security, manifest.security
    uid = _first("run_as_user", own, pod)
    gid = _first("run_as_group", own, pod)
    if not uid and (_first("run_as_non_root", own, pod) or False):
        raise RunError(
            REASON,
            "container has runAsNonRoot and image will run as root "
            f'(pod: "{manifest.pod_name}_{manifest.pod_namespace}({manifest.pod_uid})", container: {container.name})',
        )
    more = list(pod.supplemental_groups) + ([pod.fs_group] if pod.HasField("fs_group") else [])
    for number in (uid or 0, gid or 0, *more):
        if not 0 <= number <= MAX_ID:
            raise RunError(REASON, f"{number} is not a user's or a group's number")
    return _known(uid or 0, gid, more)


def local_user(uid: int = 0) -> Identity:
    """A user of the guest with all their groups."""
    return _known(uid, None, [])


def _known(uid: int, gid: int | None, more: list[int]) -> Identity:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        group = gid or 0
        return Identity(uid, group, sorted({group, *more}), "", "/")
    group = entry.pw_gid if gid is None else gid
    own = {one.gr_gid for one in grp.getgrall() if entry.pw_name in one.gr_mem}
    return Identity(uid, group, sorted({group, *own, *more}), entry.pw_name, entry.pw_dir or "/")


def _first(field: str, own: pb.Security, pod: pb.PodSecurity) -> int | None:
    if own.HasField(field):  # type: ignore[arg-type]  # the field's name is a variable here
        return int(getattr(own, field))
    if pod.HasField(field):  # type: ignore[arg-type]  # as above
        return int(getattr(pod, field))
    return None
