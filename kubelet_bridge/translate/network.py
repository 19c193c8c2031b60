"""The VM's one network interface and its DNS settings.

Masquerade on the Pod network: the VM is reached at the launcher Pod's address, and may be migrated. The MAC address is
fixed for a Pod incarnation, because cloud-init can match an interface by it on every distribution; a pattern of names
(``match: {name: en*}``) works with netplan only.
"""

import hashlib
import ipaddress
import re
from typing import Any

from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.translate import annotations
from kubelet_bridge.translate.probes import probe_ports
from kubelet_bridge.translate.resources import is_sidecar

NETWORK_NAME = "default"
SSH_PORT = 22

# KubeVirt's limits (vmi-create-admitter.go, validatePodDNSConfig), smaller than those of a Pod.
_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 6
_MAX_SEARCH_CHARACTERS = 256
_PORT_NAME = re.compile(r"(?!.*--)(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def mac_address(uid: str) -> str:
    """A locally administered address that belongs to one Pod incarnation, or to one machine of it."""
    return ":".join(f"{byte:02x}" for byte in (2, *hashlib.sha256(uid.encode()).digest()[:5]))


def interface(pod: Pod, uid: str, *, managed: bool = False) -> dict[str, Any]:
    """``domain.devices.interfaces[0]``; an agent (``managed``) probes from within."""
    found: dict[str, Any] = {"name": NETWORK_NAME, "masquerade": {}, "macAddress": mac_address(uid)}
    if ports := forwarded_ports(pod, managed=managed):
        found["ports"] = ports
    return found


def forwarded_ports(pod: Pod, *, managed: bool = False) -> list[dict[str, Any]]:
    """What masquerade lets through: declared ports, those that KubeVirt probes, and SSH where keys were asked for.

    None of them when the Pod declares no port: no list lets everything through, and any entry would shut out the rest.
    """
    ports: dict[tuple[int, str], dict[str, Any]] = {}
    names: set[str] = set()
    for declared in (port for container in _serving(pod) for port in container.ports):
        entry = ports.setdefault(
            (declared.container_port, declared.protocol or "TCP"),
            {"port": declared.container_port, "protocol": declared.protocol or "TCP"},
        )
        if "name" not in entry and declared.name not in names and _PORT_NAME.fullmatch(declared.name):
            entry["name"] = declared.name
            names.add(declared.name)
    if not ports:
        return []
    ssh = [SSH_PORT] if pod.metadata.annotations.get(annotations.SSH_KEYS) else []
    probed = [] if managed else probe_ports(pod)
    for number in (*probed, *ssh):
        ports.setdefault((number, "TCP"), {"port": number, "protocol": "TCP"})
    return list(ports.values())


def _serving(pod: Pod) -> list[Container]:
    return [*pod.spec.containers, *filter(is_sidecar, pod.spec.init_containers)]


def dns(pod: Pod) -> tuple[dict[str, Any], list[PodEvent]]:
    """``dnsPolicy`` and ``dnsConfig`` of the VM, and an event when not all of it fits."""
    fields: dict[str, Any] = {"dnsPolicy": pod.spec.dns_policy} if pod.spec.dns_policy else {}
    if not pod.spec.dns_config:
        return fields, []
    asked = pod.spec.dns_config
    taken: dict[str, Any] = {
        "nameservers": [one for one in asked.get("nameservers") or [] if _is_address(one)][:_MAX_NAMESERVERS],
        "searches": _searches(asked.get("searches") or []),
        "options": [one for one in asked.get("options") or [] if one.get("name")],
    }
    left_out = [one for kind in taken for one in asked.get(kind) or [] if one not in taken[kind]]
    config = {kind: values for kind, values in taken.items() if values}
    notes = []
    if left_out:
        what = f"KubeVirt takes at most {_MAX_SEARCHES} search domains of {_MAX_SEARCH_CHARACTERS} characters together"
        message = (
            f"{what} and {_MAX_NAMESERVERS} name servers; left out of spec.dnsConfig: {', '.join(map(str, left_out))}"
        )
        notes.append(PodEvent(EventType.WARNING, "DNSConfigForming", message))
    return fields | ({"dnsConfig": config} if config else {}), notes


def _searches(asked: list[str]) -> list[str]:
    searches: list[str] = []
    for domain in asked:
        fits = len(" ".join([*searches, domain])) <= _MAX_SEARCH_CHARACTERS and len(searches) < _MAX_SEARCHES
        if fits and len(domain) <= 253 and _DNS_SUBDOMAIN.fullmatch(domain):
            searches.append(domain)
    return searches


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
