"""Addresses of launcher Pods: this host's share of the cluster's range, handed out in turn.

The whole range already belongs to this machine (``devcluster.network``): a launcher's address needs no set-up.
"""

import ipaddress
import re

import msgspec

from kubelet_bridge.errors import Terminal, Transient

_SHARES_BITS = 3
MAX_HOSTS = 1 << _SHARES_BITS
_RESERVED = 16
"""Addresses at the start of a share that no launcher gets: the hosts' own are there."""


class HostAddresses(msgspec.Struct, frozen=True):
    """A host's own addresses. They differ only when the Pod range is loopback.

    Attributes:
        node: the Node's, which the API server's proxy has to accept.
        handler: where its virt-handler, and other Pods on the host's network, listen.
    """

    node: str
    handler: str


def host_index(node: str) -> int:
    """The number a host's name ends with: 1 for ``dev-host-1``, 0 when there is none.

    Raises:
        Terminal: there are not that many shares.
    """
    found = re.search(r"(\d+)$", node)
    index = int(found[1]) if found else 0
    if index >= MAX_HOSTS:
        raise Terminal(f"{node}: a development cluster has at most {MAX_HOSTS} hosts, numbered from 0")
    return index


def share(pod_cidr: str, index: int) -> ipaddress.IPv4Network:
    """The part of ``pod_cidr`` that host number ``index`` gives addresses from."""
    return list(ipaddress.IPv4Network(pod_cidr).subnets(prefixlen_diff=_SHARES_BITS))[index]


def first_address(network: ipaddress.IPv4Network) -> str:
    """The first usable address of a share."""
    return str(network.network_address + 1)


class AddressPool:
    """Hands out the addresses of one network, each to one owner.

    An address that was given back is used again only after every other: whoever still remembers it finds nobody there.
    """

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self._network = network
        self._first = int(network.network_address) + _RESERVED
        self._size = network.num_addresses - _RESERVED - 1
        self._next = 0
        self._owners: dict[str, str] = {}
        self._held: dict[str, str] = {}

    def allocate(self, owner: str) -> str:
        """The address of ``owner``: the same one until it is released.

        Raises:
            Transient: all are in use.
        """
        if owner in self._held:
            return self._held[owner]
        for _ in range(self._size):
            address = str(ipaddress.IPv4Address(self._first + self._next))
            self._next = (self._next + 1) % self._size
            if address not in self._owners:
                return self._hold(owner, address)
        raise Transient(f"no free address in {self._network}", reason="AddressesExhausted")

    def claim(self, owner: str, address: str) -> None:
        """Record that ``owner`` already has ``address``, as found after a restart."""
        if (found := ipaddress.IPv4Address(address)) in self._network:
            self._next = max(self._next, (int(found) - self._first + 1) % self._size)
            self._hold(owner, address)

    def release(self, owner: str) -> None:
        """Take the address of ``owner`` back, if it has one."""
        if (address := self._held.pop(owner, None)) is not None:
            self._owners.pop(address, None)

    def _hold(self, owner: str, address: str) -> str:
        self._owners[address] = owner
        self._held[owner] = address
        return address
