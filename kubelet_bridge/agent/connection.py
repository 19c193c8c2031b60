"""A conversation with the bridge, whatever carries it."""

from __future__ import annotations

from typing import Protocol

from kubelet_bridge.agent.v1 import agent_pb2 as pb

MAX_RECEIVED = 16 * 1024 * 1024
"""Bytes of the largest message we take: a manifest holds all files of the Pod's volumes."""


class Refused(Exception):
    """The bridge ended the conversation with a status other than OK.

    Attributes:
        code: the gRPC status by name, e.g. ``UNAUTHENTICATED``; what each means is said in agent.proto.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class Connection(Protocol):
    """One stream. Sending and receiving are independent of each other; each is done by one task."""

    async def send(self, message: bytes) -> None:
        """Send a serialized ``GuestMessage``; returns when the transport took it.

        Raises:
            ConnectionError: the connection has ended.
            Refused: by the bridge.
        """

    async def receive(self) -> pb.BridgeMessage | None:
        """The next message; None when the bridge has ended the stream in order. Raises what ``send`` raises."""

    async def close(self) -> None:
        """Hang up, at once; harmless when it has ended already."""


class Transport(Protocol):
    """A way to the bridge."""

    async def connect(self) -> Connection:
        """Open a stream.

        Raises:
            OSError: the bridge cannot be reached, or is not who it should be (``ssl.SSLError``).
        """
