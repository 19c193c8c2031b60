"""What a node's settings say about its VMs."""

import msgspec

from kubelet_bridge.model.catalogue import Catalogue


class GuestAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How guests reach their bridge, and what makes each side believe the other. Never logged.

    Attributes:
        address: ``HOST:PORT`` of the agents' gRPC server, as guests dial it.
        files_url: ``https://HOST:PORT`` that serves the agent's file.
        ca: PEM of the authority that signs both servers' certificates, for ``SERVER_NAME``.
        key: from which each Pod's tokens are made (``model.guesttoken``).
        agent_version: of the agent's file.
        agent_digest: its SHA-256, hexadecimal.
        agent_size: its bytes.
        vsock_port: on which agents wait for the bridge, where VMs have a vsock device; 0: they have none.
    """

    address: str
    files_url: str
    ca: str
    key: bytes
    agent_version: str
    agent_digest: str
    agent_size: int = 0
    vsock_port: int = 0

    def __repr__(self) -> str:
        return f"GuestAccess(address={self.address!r}, agent_digest={self.agent_digest!r})"


class ImageDisks(msgspec.Struct, frozen=True, kw_only=True):
    """How images become root disks, where the cluster has CDI.

    Attributes:
        catalogue: the images that have names.
        namespace: where golden images of the catalogue are.
        storage_class: of golden images and root disks; empty: the cluster's default.
        ready_made_in: namespaces whose golden images are used, in this order. Whoever may write there decides what
            other people's VMs boot.
        trouble: why no new disk may be made of the catalogue now; empty: nothing is wrong with it.
    """

    catalogue: Catalogue
    namespace: str
    storage_class: str = ""
    ready_made_in: tuple[str, ...] = ()
    trouble: str = ""


class BridgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One per node, the same for all its Pods.

    Attributes:
        node_name: name of our Node object.
        default_cpu: vCPUs of a Pod that names no CPU.
        default_memory: guest memory of a Pod that names none, as a quantity.
        min_memory: the least guest memory, as a quantity: below it no guest kernel boots, whatever the container needs.
        default_volume_size: capacity of an ``emptyDir`` without ``sizeLimit``, as a quantity.
        max_hotplug_ratio: how far a VM may grow while it runs, as a multiple of its first size.
        max_cpu: no VM may grow beyond so many vCPUs while it runs.
        architecture: of the guests, as in ``kubernetes.io/arch``.
        taint_key: key of our Node's taint; Pods tolerate it, their launchers need not.
        virtual_labels: labels that only virtual nodes carry: selecting them must not keep the VM off the real ones.
        cluster_domain: DNS domain of the cluster, for the guest's fully qualified name.
        guest: how agents reach us; None: guests get no agent.
        guests_awaited: why ``guest`` is not known yet; Pods whose containers an agent runs wait for it.
        runtime_image: container disk of the VM that runs OCI application images; empty: there is none, and every image
            reference is taken for a container disk.
        registries_conf: a registries.conf(5) for that VM: mirrors, registries without TLS; empty: its own.
        runtime_overhead: memory of that VM beside its containers (kernel, system, agent, podman), as a quantity: a
            container is to meet its own limit before the guest's.
        scratch_size: disk of that VM for images, writable layers and ``emptyDir`` volumes where the Pod names no
            ``ephemeral-storage``, as a quantity; it takes room on the host only as it fills.
        images: how images become root disks; None: VMs boot container disks only.
        ipv6: whether the cluster gives Pods IPv6 addresses; a guest that waits for one in vain takes long to boot.
    """

    node_name: str
    default_cpu: int = 1
    default_memory: str = "1Gi"
    min_memory: str = "128Mi"
    default_volume_size: str = "1Gi"
    max_hotplug_ratio: int = 4
    max_cpu: int = 64
    architecture: str = "amd64"
    taint_key: str = "virtual-kubelet.io/provider"
    virtual_labels: dict[str, str] = msgspec.field(
        default_factory=lambda: {"type": "virtual-kubelet", "kubernetes.io/role": "agent"}
    )
    cluster_domain: str = "cluster.local"
    guest: GuestAccess | None = None
    guests_awaited: str = ""
    runtime_image: str = ""
    registries_conf: str = ""
    runtime_overhead: str = "192Mi"
    scratch_size: str = "8Gi"
    images: ImageDisks | None = None
    ipv6: bool = False

    @property
    def has_agents(self) -> bool:
        """Whether guests have agents, be it later."""
        return self.guest is not None or bool(self.guests_awaited)
