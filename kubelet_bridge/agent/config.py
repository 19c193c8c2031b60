"""What the agent is given: its seed file, and where it keeps its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

SEED = Path("/etc/kubelet-bridge/agent.json")
STATE = Path("/var/lib/kubelet-bridge")
RUN = Path("/run/kubelet-bridge")


class SeedError(Exception):
    """The seed cannot be used; the message is one line and holds no secret."""


class AgentFile(NamedTuple):
    """An agent that the bridge ships: ``digest`` is the SHA-256 of its ``size`` bytes at ``url``."""

    version: str
    digest: str
    url: str
    size: int


class Seed(NamedTuple):
    """``agent.json``, as cloud-init wrote it.

    Attributes:
        pod_uid: whose guest this is.
        host: with ``port``, where the bridge listens for agents.
        server_name: the name in the bridge's certificate.
        ca: PEM of the one authority that is trusted.
        token: the boot token. Never logged.
        agent: the file to run.
        vsock_port: not 0: wait there for the bridge to come, instead of dialling it.
    """

    pod_uid: str
    host: str
    port: int
    server_name: str
    ca: str
    token: str
    agent: AgentFile | None = None
    vsock_port: int = 0

    def __repr__(self) -> str:
        return f"Seed(pod_uid={self.pod_uid!r}, host={self.host!r}, port={self.port})"


class Paths(NamedTuple):
    """Where the agent keeps what: ``state`` survives a boot, ``run`` does not."""

    seed: Path = SEED
    state: Path = STATE
    run: Path = RUN

    @property
    def session(self) -> Path:
        """The session token and the bridge secret."""
        return self.state / "session.json"

    @property
    def spool(self) -> Path:
        """What was said and not yet acknowledged."""
        return self.state / "spool"

    @property
    def logs(self) -> Path:
        """``<container>/<attempt>.log``."""
        return self.state / "logs"

    @property
    def agents(self) -> Path:
        """``<digest>.pyz``, and ``current.pyz``, a link to one of them."""
        return self.state / "agent"

    @property
    def update(self) -> Path:
        """What was tried to replace the agent by."""
        return self.state / "update.json"

    @property
    def manifest(self) -> Path:
        """The last manifest, for as long as the machine runs."""
        return self.run / "manifest.json"

    @property
    def control(self) -> Path:
        """The socket on which ``stop`` reaches the running agent."""
        return self.run / "agent.sock"

    def make(self) -> None:
        """Create the directories, for root only."""
        for directory in (self.state, self.run, self.spool, self.logs, self.agents):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def load_seed(path: Path) -> Seed:
    """Read and check the seed.

    Raises:
        SeedError: it is missing, unreadable or incomplete.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SeedError(f"{path} does not exist: this machine was not started by a bridge") from None
    except (OSError, ValueError) as error:
        raise SeedError(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise SeedError(f"{path} is not a JSON object")
    return parse_seed(document, str(path))


def parse_seed(document: dict[str, Any], source: str) -> Seed:
    """The seed in a JSON object.

    Raises:
        SeedError: a field is missing or of the wrong form; ``source`` is where the message says it is from.
    """
    version = document.get("version")
    if version != 1:
        raise SeedError(f"{source}: version {version!r} is not one this agent knows")
    host, port = _address(_text(document, "address", source), source)
    return Seed(
        pod_uid=_text(document, "pod_uid", source),
        host=host,
        port=port,
        server_name=_text(document, "server_name", source),
        ca=_text(document, "ca", source),
        token=_text(document, "token", source),
        agent=_agent(document.get("agent"), source),
        vsock_port=_number(document.get("vsock_port", 0), "vsock_port", source),
    )


def _text(document: dict[str, Any], name: str, source: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise SeedError(f"{source}: {name} is missing")
    return value


def _number(value: object, name: str, source: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SeedError(f"{source}: {name} is not a number")
    return value


def _address(address: str, source: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SeedError(f"{source}: address {address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _agent(document: object, source: str) -> AgentFile | None:
    if document is None:
        return None
    if not isinstance(document, dict):
        raise SeedError(f"{source}: agent is not an object")
    return AgentFile(
        version=_text(document, "version", source),
        digest=_text(document, "digest", source),
        url=_text(document, "url", source),
        size=_number(document.get("size", 0), "agent.size", source),
    )
