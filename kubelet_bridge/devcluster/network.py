"""Addresses for kubelets and launcher Pods: a range of this machine's own when we may have one, else loopback.

The range is one route of type ``local``: Linux then takes every address in it for its own, so thousands of launcher
addresses need no further preparation, and no kernel module for a device. The API server's node proxy and EndpointSlices
refuse 127.0.0.0/8 (IsProxyableIP in k8s.io/kubernetes/pkg/proxy/util; ValidateNonSpecialIP), hence a range of its own.
"""

import hashlib
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable

import msgspec

from kubelet_bridge.devcluster.reserved import reserved
from kubelet_bridge.errors import Terminal

LOOPBACK = "lo"
_PREFIX = 15
_BROAD = 9
_CANDIDATES = 64
"""Ranges 10.128.0.0/15 to 10.254.0.0/15, clear of the Service range 10.96.0.0/16; a dev host has an eighth of one."""


class Addresses(msgspec.Struct, frozen=True):
    """What a cluster listens on; ``note`` says what does not work with it, when something does not."""

    node_address: str
    pod_cidr: str
    interface: str | None
    note: str = ""


class _Route(msgspec.Struct):
    dst: str = "default"


class _Address(msgspec.Struct):
    local: str
    prefixlen: int


class _Link(msgspec.Struct):
    ifname: str
    addr_info: list[_Address] = []


def choose(seed: str) -> Addresses:
    """Addresses for the cluster called ``seed``; nothing is set up yet."""
    if os.geteuid() != 0:
        return _loopback(seed, "not root")
    if shutil.which("ip") is None:
        return _loopback(seed, "there is no `ip`; install iproute2")
    cidr = free_range(seed, [*_routed_networks(), *reserved()])
    try:
        prepare(cidr)
    except Terminal as error:
        return _loopback(seed, str(error))
    return Addresses(_first(cidr), cidr, LOOPBACK)


def free_range(seed: str, used: Iterable[ipaddress.IPv4Network]) -> str:
    """The range ``seed`` hashes to, or the next that touches nothing ``used``.

    Raises:
        Terminal: every one is in use.
    """
    networks = list(used)
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    for offset in range(_CANDIDATES):
        candidate = _range("10.128.0.0", (start + offset) % _CANDIDATES)
        if not any(candidate.overlaps(network) for network in networks):
            return str(candidate)
    raise Terminal("no free address range in 10.128.0.0/9 for the cluster's Pods")


def prepare(cidr: str) -> None:
    """Make every address of ``cidr`` one of this machine's. Repeating it is harmless.

    Raises:
        Terminal: we are not allowed to.
    """
    if not _is_loopback(cidr):
        _ip("route", "replace", "local", cidr, "dev", LOOPBACK)


def remove(cidr: str) -> None:
    """Take the range and every address in it back. Repeating it is harmless."""
    if _is_loopback(cidr) or not is_prepared(cidr):
        return
    network = ipaddress.ip_network(cidr)
    for link in msgspec.json.decode(_ip("-json", "-4", "address", "show"), type=list[_Link]):
        for address in link.addr_info:
            if ipaddress.ip_address(address.local) in network:
                _ip("address", "del", f"{address.local}/{address.prefixlen}", "dev", link.ifname)
    _ip("route", "del", "local", cidr, "dev", LOOPBACK)


def is_prepared(cidr: str) -> bool:
    """Whether the range is this machine's now: it is not after a reboot."""
    if _is_loopback(cidr):
        return True
    return shutil.which("ip") is not None and ipaddress.ip_network(cidr) in _routed_networks()


def _loopback(seed: str, why: str) -> Addresses:
    """Launchers on loopback; kubelets on the machine's own address, which the API server does proxy to."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    cidr = _range("127.128.0.0", number % _CANDIDATES)
    note = f"Pod addresses are loopback ({why}): Services get no endpoints"
    own = _own_address()
    if own is None:
        note += ", and kubectl exec, logs and port-forward cannot reach a node"
    return Addresses(own or _first(str(cidr)), str(cidr), None, note)


def _own_address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # connecting UDP sends nothing; it only asks for the route
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if ipaddress.ip_address(address).is_loopback else address


def _range(base: str, index: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network((int(ipaddress.IPv4Address(base)) + (index << (32 - _PREFIX)), _PREFIX))


def _first(cidr: str) -> str:
    return str(next(ipaddress.IPv4Network(cidr).hosts()))


def _is_loopback(cidr: str) -> bool:
    return ipaddress.ip_network(cidr).is_loopback


def _routed_networks() -> list[ipaddress.IPv4Network]:
    """What is routed more narrowly than a default: a VPN's 0.0.0.0/1 or 10.0.0.0/8 says nothing of a single range."""
    routes = msgspec.json.decode(_ip("-json", "-4", "route", "show", "table", "all"), type=list[_Route])
    networks = [ipaddress.IPv4Network(route.dst, strict=False) for route in routes if route.dst != "default"]
    return [network for network in networks if network.prefixlen > _BROAD]


def _ip(*arguments: str) -> bytes:
    done = subprocess.run(["ip", *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise Terminal(f"`ip {' '.join(arguments)}`: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout or b"[]"
