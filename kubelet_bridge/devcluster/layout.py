"""Where a development cluster keeps its files, and the one file that says what it is."""

import os
import tempfile
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal

DIRECTORY_VARIABLE = "KUBELET_BRIDGE_DEV_DIR"


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """One TCP port per listener, chosen free when the cluster is made and kept from then on."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    virt_api: int
    virt_controller: int
    virt_handler: int
    virt_handler_metrics: int = 0
    kubelet: int
    bridge: int
    bridge_admin: int
    bridge_guest: int
    bridge_guest_files: int
    registry: int
    registry_private: int
    cdi_api: int = 0
    cdi_controller: int = 0


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """``cluster.json``: what everybody who works with the cluster needs to know of it.

    Attributes:
        id: random; every process of the cluster carries it in its environment.
        node_address: where the bridge and dev-host-0 listen; a further dev host N listens on the Nth address after it.
        pod_cidr: addresses for launcher Pods. All of it can be bound on this machine without further preparation.
        interface: the interface that holds ``pod_cidr``; None when it is the loopback range, which the API server's
            node proxy and EndpointSlices refuse.
        bin_dir: every program of the cluster, by name.
        hosts: how many dev hosts there are, ``dev-host-0`` on.
        host_mode: how they run VirtualMachineInstances.
        bridge: whether the bridge itself is one of the cluster's processes.
    """

    id: str
    directory: str
    ports: Ports
    node_address: str
    pod_cidr: str
    service_cidr: str
    interface: str | None
    kubernetes_version: str
    kubevirt_version: str
    bin_dir: str
    hosts: int = 1
    host_mode: str = "none"
    bridge: bool = False


class Layout:
    """Paths inside a cluster's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "cluster.json"
        self.lock = directory / "cluster.lock"
        self.bin = directory / "bin"
        self.pki = directory / "pki"
        self.logs = directory / "logs"
        self.run = directory / "run"
        self.temporary = directory / "tmp"
        self.etcd = directory / "etcd"
        self.scheduler_config = directory / "scheduler.json"
        self.audit_policy = directory / "audit.json"
        self.audit_log = self.logs / "audit.log"
        self.bridge_state = directory / "bridge"
        self.volumes = directory / "volumes"
        self.token_keys = self.pki / "cdi-api-signing-key"
        self.registry = directory / "registry"
        self.registry_password = self.registry / "password"
        self.registries_conf = self.registry / "registries.conf"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of ``admin``, ``super-admin``, ``bridge``, ``virt-api`` and so on."""
        return self.directory / f"{user}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A PEM certificate."""
        return self.pki / f"{name}.crt"

    def key(self, name: str) -> Path:
        """A PEM private key, mode 0600."""
        return self.pki / f"{name}.key"

    def log(self, component: str) -> Path:
        """What a component writes to stdout and stderr."""
        return self.logs / f"{component}.log"

    def make(self) -> None:
        """Create the directories, for the owner only."""
        for directory in (
            self.directory,
            self.bin,
            self.pki,
            self.logs,
            self.run,
            self.temporary,
            self.volumes,
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def default_directory() -> Path:
    """``$KUBELET_BRIDGE_DEV_DIR``, else ``dev`` in our XDG state directory."""
    if chosen := os.environ.get(DIRECTORY_VARIABLE):
        return Path(chosen).expanduser().resolve()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "kubelet-bridge" / "dev"


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step by a file of mode 0600."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(path)


def load_state(layout: Layout) -> ClusterState | None:
    """The recorded state; None when there is no cluster in this directory.

    Raises:
        Terminal: the file is there and cannot be understood.
    """
    try:
        return msgspec.json.decode(layout.state.read_bytes(), type=ClusterState)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise Terminal(f"{layout.state} cannot be read: {error}") from error


def save_state(layout: Layout, state: ClusterState) -> None:
    """Write ``cluster.json``."""
    write_private(layout.state, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
