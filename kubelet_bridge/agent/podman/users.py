"""As whom a container runs, and whether it may: the kubelet's checks and words (kuberuntime)."""

from __future__ import annotations

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.v1 import agent_pb2 as pb

REASON = "CreateContainerConfigError"


def user_of(manifest: pb.PodManifest, container: pb.Container, image_user: str) -> str:
    """``user`` or ``user:group`` for podman; empty: the image's own.

    Raises:
        RunError: it would be root, or might be, and must not.
    """
    user = _effective(manifest, container, "run_as_user")
    group = _effective(manifest, container, "run_as_group")
    if _must_not_be_root(manifest, container):
        _check(manifest, container, user, image_user)
    if group is None:
        return "" if user is None else str(user)
    name = image_user.partition(":")[0] or "0"
    return f"{name if user is None else user}:{group}"


def groups_of(manifest: pb.PodManifest) -> list[str]:
    """Supplemental groups; fsGroup is one of them."""
    groups = [str(group) for group in manifest.security.supplemental_groups]
    if manifest.security.HasField("fs_group"):
        groups.append(str(manifest.security.fs_group))
    return groups


def _effective(manifest: pb.PodManifest, container: pb.Container, field: str) -> int | None:
    """The container's own value goes before the Pod's."""
    for security in (container.security, manifest.security):
        if security.HasField(field):  # type: ignore[arg-type]
            return int(getattr(security, field))
    return None


def _must_not_be_root(manifest: pb.PodManifest, container: pb.Container) -> bool:
    if container.security.HasField("run_as_non_root"):
        return container.security.run_as_non_root
    return manifest.security.run_as_non_root


def _check(manifest: pb.PodManifest, container: pb.Container, user: int | None, image_user: str) -> None:
    pod = f"{manifest.pod_name}_{manifest.pod_namespace}({manifest.pod_uid})"
    where = f'(pod: "{pod}", container: {container.name})'
    if user is not None:
        if user == 0:
            raise RunError(REASON, f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name in {"", "0"}:
        raise RunError(REASON, f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        why = f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        raise RunError(REASON, f"{why} {where}")
