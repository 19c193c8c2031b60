"""Making images available: pull policies, credentials, registries, and errors in the kubelet's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.pod.policy import members
from kubelet_bridge.agent.podman import references
from kubelet_bridge.agent.podman.client import ApiError
from kubelet_bridge.agent.podman.service import Service
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

# Where podman run by root looks without being told (containers-auth.json(5)); it is in memory.
AUTH_FILE = Path("/run/containers/0/auth.json")
REGISTRIES_FILE = Path("/etc/containers/registries.conf.d/90-kubelet-bridge.conf")


class Images:
    """The images of one guest."""

    def __init__(self, service: Service, *, auth: Path = AUTH_FILE, registries: Path = REGISTRIES_FILE) -> None:
        self._service = service
        self._auth = auth
        self._registries = registries
        self._inspected: dict[str, Any] = {}

    async def prepare(self, manifest: pb.PodManifest) -> None:
        """Write down credentials and mirrors; podman reads the latter only once."""
        images = [member.container.image for member in members(manifest)]
        document = references.auth_file(manifest.pull_credentials, images)
        await in_thread(_write, self._auth, json.dumps(document).encode())
        if manifest.registries_conf:
            changed = await in_thread(_write, self._registries, manifest.registries_conf)
            if changed:
                await self._service.restart()

    def config(self, image: str) -> Any:
        """The ``Config`` of an image that was made available."""
        return self._inspected[references.full_name(image)]["Config"]

    async def available(self, container: pb.Container, pulling: Callable[[], None]) -> tuple[str, bool]:
        """See ``Driver.image``."""
        try:
            name = references.full_name(container.image)
        except references.InvalidReference as error:
            raise RunError("InvalidImageName", str(error)) from error
        found = None if container.pull_policy == pb.PULL_POLICY_ALWAYS else await self._inspect(name)
        if found is not None:
            return references.image_id(name, found), False
        if container.pull_policy == pb.PULL_POLICY_NEVER:
            why = f'Container image "{container.image}" is not present with pull policy of Never'
            raise RunError("ErrImageNeverPull", why)
        pulling()
        await self._pull(name)
        found = await self._inspect(name)
        if found is None:
            raise RunError("ErrImagePull", f"image {name} was pulled and is not there")
        return references.image_id(name, found), True

    async def _inspect(self, name: str) -> Any:
        try:
            found = await self._service.client.call("GET", f"/images/{quote(name, safe='')}/json")
        except ApiError as error:
            if error.status == 404:
                return None
            raise RunError("ImageInspectError", error.message) from error
        self._inspected[name] = found
        return found

    async def _pull(self, name: str) -> None:
        try:
            async for line in self._service.client.lines("POST", "/images/pull", {"reference": name}):
                if line.get("error"):
                    raise RunError("ErrImagePull", f'failed to pull image "{name}": {line["error"]}')
        except ApiError as error:
            raise RunError("ErrImagePull", f'failed to pull image "{name}": {error.message}') from error
        except OSError as error:
            raise RunError("ErrImagePull", f'failed to pull image "{name}": podman: {error}') from error


def _write(path: Path, content: bytes) -> bool:
    """Whether that was new."""
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        pass
    replace_file(path, content)
    return True
