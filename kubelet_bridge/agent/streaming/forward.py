"""A connection to a port of the guest's loopback."""

from __future__ import annotations

import asyncio

from kubelet_bridge.agent.reasons import reason
from kubelet_bridge.agent.v1 import agent_pb2 as pb

CHUNK = 64 * 1024
CONNECT_SECONDS = 10.0
# A server that has sent all it will may still read; one that has closed altogether looks the same until it is sent to.
HALF_CLOSED_SECONDS = 60.0
ADDRESSES = ("127.0.0.1", "::1")


class CannotConnect(Exception):
    """Nothing listens there; the message is what ``kubectl port-forward`` prints."""


class Forward:
    """Implements ``driver.Process`` for a TCP connection: bytes are stdin and stdout, and each half closes alone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = False
        self._written = asyncio.Event()

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``; a reset connection simply ends."""
        if self._ended:
            return None
        try:
            data = await self._reader.read(CHUNK)
        except OSError:
            data = b""
        self._ended = not data
        return pb.CHANNEL_STDOUT, data

    async def write(self, data: bytes) -> None:
        """As in ``driver.Process``."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            self._written.set()

    async def close_stdin(self) -> None:
        """Send FIN; what comes back still comes."""
        self._written.set()
        try:
            self._writer.write_eof()
        except OSError:
            pass  # it is over already

    async def resize(self, columns: int, rows: int) -> None:
        """A connection has no size."""

    async def wait(self) -> tuple[int, int]:
        """Nothing more is to be sent either; asked once reading has ended. There is no exit code."""
        try:
            await asyncio.wait_for(self._written.wait(), HALF_CLOSED_SECONDS)
        except asyncio.TimeoutError:
            pass
        return 0, 0

    async def kill(self) -> None:
        """Drop the connection."""
        if self._ended:
            self._writer.close()
        else:
            self._writer.transport.abort()
        self._written.set()


async def connect(port: int) -> Forward:
    """Connect by IPv4, and where nothing listens there by IPv6.

    Raises:
        CannotConnect: neither worked.
    """
    if not 0 < port < 65536:
        raise CannotConnect(f"{port} is not a port")
    failed: list[str] = []
    for address in ADDRESSES:
        try:
            return Forward(*await asyncio.wait_for(_open(address, port), CONNECT_SECONDS))
        except asyncio.TimeoutError:  # noqa: PERF203 - two addresses
            failed.append(f"dial tcp {address}:{port}: i/o timeout")
        except OSError as error:
            failed.append(f"dial tcp {address}:{port}: {reason(error)}")
    raise CannotConnect(f"failed to connect to localhost:{port} inside the guest: {', '.join(failed)}")


async def _open(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address, port, limit=CHUNK)
