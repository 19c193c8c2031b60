"""cloud-init's network configuration: DHCP on the VM's one interface.

The form was chosen by what every renderer of cloud-init makes of it (ADR 6): the interface is found by its MAC address,
which is ours and the same at each boot, and given the name that the rendered files speak of.
"""

from typing import Any

from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.network import mac_address

INTERFACE = "eth0"
"""What the guest calls its interface, whatever its kernel and udev would."""


def network_config(uid: str, config: BridgeConfig) -> dict[str, Any]:
    """Network configuration, version 2. DHCPv6 only where somebody answers: elsewhere guests wait for it in vain."""
    interface = {
        "match": {"macaddress": mac_address(uid)},
        "set-name": INTERFACE,
        "dhcp4": True,
        "dhcp6": config.ipv6,
    }
    return {"version": 2, "ethernets": {INTERFACE: interface}}
