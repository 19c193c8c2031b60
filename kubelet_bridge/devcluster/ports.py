"""Choosing TCP ports for a cluster, below the range that the kernel hands to outgoing connections."""

import hashlib
import socket

import msgspec

from kubelet_bridge.devcluster.layout import Ports
from kubelet_bridge.errors import Terminal

_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether nothing listens on ``port``, on any address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """One free port for a process that is started right away."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def choose(seed: str) -> Ports:
    """Free ports, from where ``seed`` hashes to on: two clusters made at the same moment do not choose the same.

    Raises:
        Terminal: there are not enough.
    """
    names = msgspec.structs.fields(Ports)
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    found: list[int] = []
    for offset in range(_LAST - _FIRST):
        port = _FIRST + (start + offset) % (_LAST - _FIRST)
        if is_free(port):
            found.append(port)
        if len(found) == len(names):
            return Ports(**{field.name: port for field, port in zip(names, found, strict=True)})
    raise Terminal(f"not enough free TCP ports between {_FIRST} and {_LAST}")


def complete(known: Ports, seed: str) -> Ports:
    """``known``, with ports for the listeners that there were none of when the cluster was made.

    Raises:
        Terminal: there are not enough.
    """
    values = msgspec.structs.asdict(known)
    if all(values.values()):
        return known
    free = (port for port in msgspec.structs.asdict(choose(seed)).values() if port not in values.values())
    return Ports(**{name: port or next(free) for name, port in values.items()})
