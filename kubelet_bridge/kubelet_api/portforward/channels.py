"""Port forwarding over WebSocket channels: 2i is the data of the i-th port, 2i+1 its error (portforward/websocket.go).

Each begins with the port's number in two bytes, little-endian. Nothing can be half-closed. No I/O here.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import StrEnum

from kubelet_bridge.kubelet_api.portforward.pairs import parse_port

_MOST_PORTS = 100  # a message names its channel in one byte


class Subprotocol(StrEnum):
    """Sec-WebSocket-Protocol; a client may also name none."""

    NONE = ""
    V4 = "v4.channel.k8s.io"
    V4_BASE64 = "v4.base64.channel.k8s.io"

    @property
    def textual(self) -> bool:
        """Messages are text: a character for the channel, and base64."""
        return self is Subprotocol.V4_BASE64


class BadPorts(ValueError):
    """The query does not say which ports."""


def requested_ports(values: Sequence[str]) -> list[int]:
    """The ports of all ``port=`` in a query, each a number or several with commas. Raises ``BadPorts``."""
    if not values:
        raise BadPorts('query parameter "port" is required')
    ports: list[int] = []
    for value in values:
        if not value:
            raise BadPorts('query parameter "port" cannot be empty')
        for one in value.split(","):
            if (port := parse_port(one)) is None:
                raise BadPorts(f'unable to parse "{value}" as a port')
            ports.append(port)
    if len(ports) > _MOST_PORTS:
        raise BadPorts(f"{len(ports)} ports are more than one connection can carry")
    return ports


def greeting(port: int) -> bytes:
    """The first bytes of both channels of a port."""
    return port.to_bytes(2, "little")


def encode(protocol: Subprotocol, channel: int, data: bytes) -> bytes:
    """One message; for the textual protocol it is to be sent as text."""
    if protocol.textual:
        return bytes([ord("0") + channel]) + base64.b64encode(data)
    return bytes([channel]) + data


def decode(protocol: Subprotocol, message: bytes) -> tuple[int, bytes] | None:
    """Channel and data of a message; None for what means nothing, which a kubelet ignores."""
    if len(message) < 2:
        return None
    if not protocol.textual:
        return message[0], message[1:]
    try:
        return (message[0] - ord("0")) % 256, base64.b64decode(message[1:].translate(None, b"\r\n"), validate=True)
    except binascii.Error:
        return None
