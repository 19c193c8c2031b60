"""Channels in a WebSocket: the first byte of each message says which of the streams it belongs to.

From k8s.io/streaming ``wsstream/conn.go`` and cri-streaming ``remotecommand/websocket.go``. No I/O.
"""

import base64
import binascii
from enum import IntEnum, StrEnum
from typing import NamedTuple

from kubelet_bridge.kubelet_api.remotecommand.wants import Wants

_CLOSE = 255


class Subprotocol(StrEnum):
    """Sec-WebSocket-Protocol; a client may also name none."""

    V5 = "v5.channel.k8s.io"
    V4 = "v4.channel.k8s.io"
    V4_BASE64 = "v4.base64.channel.k8s.io"
    V1 = "channel.k8s.io"
    V1_BASE64 = "base64.channel.k8s.io"
    NONE = ""

    @property
    def textual(self) -> bool:
        """Messages are text: a digit and base64."""
        return self in (Subprotocol.V4_BASE64, Subprotocol.V1_BASE64)

    @property
    def structured(self) -> bool:
        """The status is JSON."""
        return self in (Subprotocol.V5, Subprotocol.V4, Subprotocol.V4_BASE64)


class Channel(IntEnum):
    """The streams' numbers."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


class ChannelMessage(NamedTuple):
    """What a message said; ``closed``: nothing more comes on this channel."""

    channel: Channel
    data: bytes = b""
    closed: bool = False


class ChannelError(ValueError):
    """A message that ends the connection."""


def chosen(offered: list[str]) -> Subprotocol | None:
    """The first that the client offers and we speak; none offered is one of them. None when there is nothing common."""
    known = set(Subprotocol)
    return next((Subprotocol(one) for one in offered or [""] if one in known), None)


def first_channel(wants: Wants) -> Channel:
    """On which an empty message tells the client that all is ready: the lowest that it can read."""
    if wants.stdout:
        return Channel.STDOUT
    return Channel.STDERR if wants.stderr else Channel.ERROR


def encode(protocol: Subprotocol, channel: Channel, data: bytes) -> bytes:
    """One message; for the textual protocols it is to be sent as text."""
    if protocol.textual:
        return b"%d" % channel + base64.b64encode(data)
    return b"%c" % channel + data


def decode(protocol: Subprotocol, message: bytes) -> ChannelMessage | None:
    """What ``message`` says; None for what means nothing: other channels, text that is no base64.

    Raises:
        ChannelError: a signal to close that makes no sense.
    """
    if not message:
        return None
    number = message[0]
    if protocol is Subprotocol.V5 and number == _CLOSE:
        return _closing(message)
    if protocol.textual:
        number = (number - ord("0")) % 256
    if number not in (Channel.STDIN, Channel.RESIZE):
        return None
    data = message[1:]
    if protocol.textual:
        try:
            data = base64.b64decode(data.translate(None, b"\r\n"), validate=True)
        except binascii.Error:
            return None
    return ChannelMessage(Channel(number), data) if data else None


def _closing(message: bytes) -> ChannelMessage:
    if len(message) != 2 or message[1] not in set(Channel):
        raise ChannelError("a signal to close names one channel")
    return ChannelMessage(Channel(message[1]), closed=True)
