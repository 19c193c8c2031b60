"""A socket to accept connections on."""

import ipaddress
import socket

from kubelet_bridge.errors import SettingsError


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host``: an IP address, or empty for all.

    Raises:
        SettingsError: it cannot be had.
    """
    try:
        address = ipaddress.ip_address(host or "::")
    except ValueError as error:
        raise SettingsError(f"listen address {host!r} is not an IP address") from error
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    both = not host and socket.has_dualstack_ipv6()
    try:
        if not host and not both:
            family, address = socket.AF_INET, ipaddress.ip_address("0.0.0.0")  # noqa: S104 - asked for
        listening = socket.create_server((str(address), port), family=family, backlog=512, dualstack_ipv6=both)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host or '*'}:{port}: {error}") from error
    listening.setblocking(False)
    return listening
