"""What a node's settings say about its VMs."""

import msgspec


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
    ipv6: bool = False
