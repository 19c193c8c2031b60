"""Where the Pod's ports are, seen from inside its guest."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"
# TEST-NET-1 (RFC 5737): nothing is sent there, the kernel only says which address it would send from.
_ELSEWHERE = ("192.0.2.1", 9)


def own_address(pod_ip: str) -> str:
    """The Pod's address if the guest has it; behind a translation the guest's own; loopback while it has none.

    As for a kubelet, a program that listens on loopback only is not reached.
    """
    if pod_ip and _is_ours(pod_ip):
        return pod_ip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
