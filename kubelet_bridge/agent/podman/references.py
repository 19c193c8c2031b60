"""Image references and pull credentials, as a kubelet reads them. Pure."""

from __future__ import annotations

import base64
import fnmatch
import re
from typing import Any, Iterable

from kubelet_bridge.agent.v1 import agent_pb2 as pb

DEFAULT_REGISTRY = "docker.io"
_PART = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>[a-z0-9+.-]+:[0-9a-f]{{32,}}))?",
    re.ASCII,
)


class InvalidReference(ValueError):
    """It names no image; the message is the kubelet's."""


def full_name(image: str) -> str:
    """``nginx`` is ``docker.io/library/nginx:latest``; a tag beside a digest counts for nothing.

    Raises:
        InvalidReference: it is not a reference.
    """
    match = _REFERENCE.fullmatch(image)
    if match is None:
        why = f'couldn\'t parse image name "{image}": invalid reference format'
        raise InvalidReference(f'Failed to apply default image tag "{image}": {why}')
    name, tag, digest = match.group("name", "tag", "digest")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"{DEFAULT_REGISTRY}/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"{DEFAULT_REGISTRY}/{name}"
    return f"{name}@{digest}" if digest else f"{name}:{tag or 'latest'}"


def repository(full: str) -> str:
    """A full name without its tag or digest."""
    name = full.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def image_id(full: str, inspected: Any) -> str:
    """``name@sha256:…`` of an image that podman has inspected; its own id when it came from no registry."""
    name = repository(full)
    digests = [str(digest) for digest in inspected.get("RepoDigests") or []]
    for digest in digests:
        if digest.partition("@")[0] == name:
            return digest
    return digests[0] if digests else f"sha256:{str(inspected['Id']).replace('sha256:', '')}"


def auth_file(credentials: Iterable[pb.PullCredential], images: Iterable[str]) -> dict[str, Any]:
    """A containers-auth.json(5); podman picks the longest key that matches an image.

    A kubelet also takes patterns (``*.example.com``): they become the names of those ``images``' registries they match.
    """
    auths: dict[str, Any] = {}
    hosts = {repository(full_name(image)).partition("/")[0] for image in images if _REFERENCE.fullmatch(image)}
    for credential in credentials:
        key = _key(credential.registry)
        host, slash, path = key.partition("/")
        keys = [key] if "*" not in host else [one + slash + path for one in hosts if fnmatch.fnmatchcase(one, host)]
        for one in keys:
            auths.setdefault(one, _auth(credential))
    return {"auths": auths}


def _key(registry: str) -> str:
    key = registry.partition("://")[2] or registry
    key = re.sub(r"/v[12]/?$", "", key).rstrip("/")
    host, slash, path = key.partition("/")
    return (DEFAULT_REGISTRY if host in {"index.docker.io", "registry-1.docker.io"} else host) + slash + path


def _auth(credential: pb.PullCredential) -> dict[str, str]:
    pair = f"{credential.username}:{credential.password}".encode()
    auth = {"auth": base64.b64encode(pair).decode("ascii")}
    if credential.identity_token:
        auth["identitytoken"] = credential.identity_token
    return auth
