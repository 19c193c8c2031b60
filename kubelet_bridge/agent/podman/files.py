"""The guest's files that containers see or that are written for them. Everything here blocks."""

from __future__ import annotations

from pathlib import Path

from kubelet_bridge.agent import volumes
from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.podman import cgroups
from kubelet_bridge.agent.podman.spec import Places, hosts_file
from kubelet_bridge.agent.v1 import agent_pb2 as pb

MESSAGE_BYTES = 4096
_MACHINE_HOSTS = Path("/etc/hosts")


class Files:
    """Volumes, ``/etc/hosts``, logs and termination messages."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._volumes: dict[str, str] = {}

    def prepare(self, manifest: pb.PodManifest) -> None:
        """Make volumes and ``/etc/hosts`` ready; raises RunError for a volume that cannot be."""
        self._volumes = volumes.prepare(manifest, self._paths)
        machine = _MACHINE_HOSTS.read_text() if _MACHINE_HOSTS.exists() else "127.0.0.1\tlocalhost\n"
        content = hosts_file(manifest, machine).encode()
        if not self._hosts.exists():
            replace_file(self._hosts, content, 0o644)
        elif self._hosts.read_bytes() != content:
            self._hosts.write_bytes(content)  # in place: it is mounted into containers

    def places(self, container: pb.Container, attempt: int, name: str) -> Places:
        """Where everything is for one run.

        Raises:
            RunError: ``CreateContainerConfigError``: it mounts what is not there.
        """
        message = self._message(name)
        message.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        message.write_bytes(b"")
        message.chmod(0o666)  # whoever the container runs as
        log = self._paths.logs / container.name / f"{attempt}.log"
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Places(
            mounts=[volumes.sub_path(self._volume(mount.volume), mount.sub_path) for mount in container.mounts],
            devices=[self._volume(device.volume) for device in container.devices],
            hosts=str(self._hosts),
            message=str(message),
            log=str(log),
            cgroup=cgroups.parent(name),
        )

    def message(self, name: str) -> str:
        """The termination message that a container has left."""
        try:
            with self._message(name).open("rb") as file:
                return file.read(MESSAGE_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def forget(self, name: str) -> None:
        """Remove what was written for a run; its log stays."""
        try:
            self._message(name).unlink()
        except FileNotFoundError:
            pass

    @property
    def _hosts(self) -> Path:
        return self._paths.state / "hosts"

    def _message(self, name: str) -> Path:
        return self._paths.state / "messages" / name

    def _volume(self, name: str) -> str:
        try:
            return self._volumes[name]
        except KeyError:
            raise RunError("CreateContainerConfigError", f'there is no volume "{name}"') from None
