"""The cluster's own image registry, Debian's docker-registry: what guests pull application images from.

Two processes serve the same images: one to everybody, one only with a password, for trying pull secrets. Images of
other registries have the registry's name in front, ``docker.io/library/nginx``: guests look there first (mirrors).
"""

import asyncio
import secrets
import shutil
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.component import Component, Health
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.images import bcrypt, catalogue, publishing
from kubelet_bridge.devcluster.layout import ClusterState, Layout, write_private
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal

NAME, PRIVATE_NAME = "registry", "registry-private"
USER = "dev"
_PROGRAM, _PACKAGE = "docker-registry", "docker-registry"
_MIRRORED = ("docker.io", "quay.io", "ghcr.io", "registry.k8s.io", "gcr.io")


def address(state: ClusterState) -> str:
    """``ADDRESS:PORT`` of the registry that asks for no password, for this machine and for guests."""
    return f"{state.node_address}:{state.ports.registry}"


def private_address(state: ClusterState) -> str:
    """``ADDRESS:PORT`` of the one that does."""
    return f"{state.node_address}:{state.ports.registry_private}"


def missing() -> list[str]:
    """Debian packages that this machine lacks."""
    return [] if shutil.which(_PROGRAM) else [_PACKAGE]


def is_wanted(state: ClusterState) -> bool:
    """Whether the cluster has guests that pull images."""
    return state.host_mode == HostMode.QEMU


def components(layout: Layout, state: ClusterState) -> list[Component]:
    """The two processes; none when no guest would pull from them."""
    if not is_wanted(state):
        return []
    return [
        _component(layout, NAME, state.node_address, state.ports.registry),
        _component(layout, PRIVATE_NAME, state.node_address, state.ports.registry_private),
    ]


def _component(layout: Layout, name: str, host: str, port: int) -> Component:
    argv = [_PROGRAM, "serve", str(_configuration_file(layout, name))]
    return Component(name, argv, f"{host}:{port}", (port,), health=Health(f"http://{host}:{port}/"))


def _configuration_file(layout: Layout, name: str) -> Path:
    return layout.registry / f"{name}.json"


def prepare(layout: Layout, state: ClusterState, progress: Progress) -> None:
    """Build what guests boot and run, if it is not there yet, and write configurations. Blocks, for minutes at first.

    Raises:
        Terminal: this machine lacks something; the message says what to install.
    """
    if not is_wanted(state):
        return
    if lacking := missing():
        raise Terminal(f"the registry for guests needs: apt-get install --no-install-recommends {' '.join(lacking)}")
    for source in (*catalogue.named([catalogue.RUNTIME]), *catalogue.applications()):
        catalogue.ensure(source, progress)
    _write_configuration(layout, state)


def _write_configuration(layout: Layout, state: ClusterState) -> None:
    """Everything that the two processes and the guests read. The password stays what it was."""
    layout.registry.mkdir(mode=0o700, exist_ok=True)
    users = layout.registry / "htpasswd"
    if not users.exists():
        password = secrets.token_urlsafe(12)
        write_private(layout.registry_password, password.encode())
        write_private(users, f"{USER}:{bcrypt.hashed(password)}\n".encode())
    write_private(_configuration_file(layout, NAME), _configuration(layout, address(state)))
    write_private(_configuration_file(layout, PRIVATE_NAME), _configuration(layout, private_address(state), users))
    write_private(layout.registries_conf, registries_conf(state).encode())


def _configuration(layout: Layout, listen: str, users: Path | None = None) -> bytes:
    """Configuration of distribution 2.8, docs/configuration.md; JSON is YAML."""
    document = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(layout.registry / "storage")},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": users is not None}},
        },
        "http": {"addr": listen},
    }
    if users is not None:
        document["auth"] = {"htpasswd": {"realm": "development", "path": str(users)}}
    return msgspec.json.encode(document)


def registries_conf(state: ClusterState) -> str:
    """What guests' podman reads, registries.conf(5): ours before the real ones, and neither with TLS."""
    open_one, private = address(state), private_address(state)
    lines = ['unqualified-search-registries = ["docker.io"]', 'short-name-mode = "permissive"']
    for name in (open_one, private):
        lines += ["", "[[registry]]", f'location = "{name}"', "insecure = true"]
    for name in _MIRRORED:
        lines += ["", "[[registry]]", f'location = "{name}"']
        lines += ["[[registry.mirror]]", f'location = "{open_one}/{name}"', "insecure = true"]
    return "\n".join(lines) + "\n"


def bridge_arguments(layout: Layout, state: ClusterState) -> list[str]:
    """What the bridge is told of all this."""
    if not is_wanted(state):
        return []
    return ["--runtime-image", catalogue.RUNTIME, "--registries-file", str(layout.registries_conf)]


async def publish(state: ClusterState) -> None:
    """Put every application image into the running registry.

    Raises:
        Terminal: an image is not built, or the registry refuses it.
    """
    for source in catalogue.applications():
        layout = await asyncio.to_thread(catalogue.ensure, source, Progress(quiet=True))
        name, _, tag = source.recipe.reference.rpartition(":")
        await publishing.push(layout, address(state), name, tag)
