"""A machine's network: QEMU's user-mode stack, in the shape of KubeVirt's masquerade binding. Pure.

The guest is 10.0.2.2 behind 10.0.2.1, by DHCP; what reaches the launcher Pod's address on a forwarded port reaches it.
The stack opens one listening socket per port, so "every port" (no port declared) is the list ``COMMON``.
"""

import ipaddress
from typing import Any

from kubelet_bridge.devcluster.devhost.qemu.vmispec import Interface, Port, Vmi
from kubelet_bridge.errors import Terminal

DEFAULT_CIDR = "10.0.2.0/24"

COMMON = (
    *range(20, 26), 53, 79, 80, 81, 88, 110, 111, 113, 119, 135, 139, 143, 179, 389, 443, 445, 465, 514, 515, 554, 587,
    631, 636, 853, 873, 989, 990, 993, 995, 1080, 1194, 1234, 1433, 1521, 1883, 2000, 2049, 2121, 2181, 2222, 2379,
    2380, *range(3000, 3011), 3128, 3306, 3389, 4000, 4040, 4200, 4222, 4317, 4318, 4369, 4443, 4567,
    *range(5000, 5011), 5060, 5173, 5201, 5222, 5432, 5433, 5555, 5601, 5671, 5672, 5900, 5984, 6000, 6060, 6379, 6380,
    6443, 6667, 7000, 7001, 7070, 7077, 7443, 7474, 7687, 7777, *range(8000, 8101), 8123, 8125, 8161, 8181, 8200, 8300,
    8333, 8443, 8500, 8501, 8600, 8686, 8787, 8834, 8880, 8883, 8888, 8889, *range(9000, 9101), 9121, 9187, 9200, 9300,
    9376, 9411, 9418, 9443, 9696, 9876, 9990, 9999, 10000, 10250, 11211, 11434, 12345, 15672, 16379, 16686, 18080,
    19999, 25565, 26257, 26379, 27017, 28015, 28080, 30000, 32400, 50000, 50051, 61616,
)  # fmt: skip
"""TCP ports forwarded to a guest whose interface declares none."""

COMMON_UDP = (53, 69, 123, 161, 162, 500, 514, 1194, 1812, 4500, 5060, 5353, 8125, 51820)
"""The same for UDP."""


def arguments(vmi: Vmi, address: str) -> list[str]:
    """QEMU's arguments for the network cards, reachable at ``address``.

    Raises:
        Terminal: a network that only a cluster's network plugin could give.
    """
    pods = {network.name: network.pod for network in vmi.spec.networks if network.pod is not None}
    found: list[str] = []
    for index, interface in enumerate(vmi.spec.domain.devices.interfaces):
        if interface.name not in pods:
            raise Terminal(f"interface {interface.name}: this mode knows the Pod network only", reason="NoSuchNetwork")
        found += ["-netdev", _netdev(vmi, interface, pods[interface.name], index, address)]
        model = "virtio-net-pci" if interface.model in ("", "virtio") else interface.model
        mac = f",mac={interface.mac_address}" if interface.mac_address else ""
        found += ["-device", f"{model},netdev=net{index},id=nic{index}{mac}"]
    return found or ["-nic", "none"]


def _netdev(vmi: Vmi, interface: Interface, pod: dict[str, Any], index: int, address: str) -> str:
    network = ipaddress.IPv4Network(pod.get("vmNetworkCIDR") or DEFAULT_CIDR, strict=False)
    gateway, guest, resolver = (network.network_address + offset for offset in (1, 2, 3))
    options = [
        f"user,id=net{index}", f"net={network}", f"host={gateway}", f"dhcpstart={guest}", f"dns={resolver}",
        f"hostname={vmi.spec.hostname or vmi.metadata.name}", "ipv6=off",
    ]  # fmt: skip
    ports = forwarded(interface.ports)
    return ",".join([*options, *(f"hostfwd={kind}:{address}:{port}-{guest}:{port}" for kind, port in ports)])


def forwarded(declared: list[Port]) -> list[tuple[str, int]]:
    """Protocol and number of the ports to forward, each once.

    Raises:
        Terminal: neither TCP nor UDP.
    """
    if not declared:
        return [("tcp", port) for port in COMMON] + [("udp", port) for port in COMMON_UDP]
    found = [(port.protocol.lower(), port.port) for port in declared]
    if other := next((kind for kind, _ in found if kind not in ("tcp", "udp")), None):
        raise Terminal(f"ports of protocol {other.upper()} cannot be forwarded", reason="UnsupportedProtocol")
    return list(dict.fromkeys(found))
