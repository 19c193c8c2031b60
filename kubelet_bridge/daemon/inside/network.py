"""Connections to a Pod by its network: to its address, or through KubeVirt."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.bytestream import ByteStream
from kubelet_bridge.kubelet_api.ports import Connection

_CHUNK = 256 * 1024
_CONNECT_SECONDS = 10.0
_FLUSH_SECONDS = 10.0


class TcpConnection:
    """A ``ports.Connection`` over TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """As in ``ports.Connection``."""
        try:
            return await self._reader.read(_CHUNK)
        except OSError as error:
            raise _broken(error) from error

    async def write(self, data: bytes) -> None:
        """As in ``ports.Connection``."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise _broken(error) from error

    async def write_eof(self) -> None:
        """As in ``ports.Connection``."""
        try:
            self._writer.write_eof()
        except OSError as error:
            raise _broken(error) from error


class RelayedConnection:
    """A ``ports.Connection`` through a subresource of KubeVirt's, which has no half-close: input ends with all."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """As in ``ports.Connection``."""
        try:
            return await self._stream.receive()
        except ConnectionError as error:
            raise _broken(error) from error

    async def write(self, data: bytes) -> None:
        """As in ``ports.Connection``."""
        try:
            await self._stream.send(data)
        except ConnectionError as error:
            raise _broken(error) from error

    async def write_eof(self) -> None:
        """Nothing can be said of it: what comes back still comes."""


@asynccontextmanager
async def tcp(address: str, port: int) -> AsyncIterator[Connection]:
    """A connection to ``address``; dropped at once when it is left by an error.

    Raises:
        Transient: nobody answers there, in the words of Go's dialers, which tools know.
    """
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port, limit=_CHUNK)
    except TimeoutError as error:
        raise Transient(f"dial tcp {address}:{port}: i/o timeout", reason="CannotConnect") from error
    except OSError as error:
        # asyncio's own text says what it called, not what became of it.
        why = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise Transient(f"dial tcp {address}:{port}: connect: {why}", reason="CannotConnect") from error
    try:
        yield TcpConnection(reader, writer)
        writer.close()
        async with asyncio.timeout(_FLUSH_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):  # whoever does not take the last of it has gone
        pass
    finally:
        writer.transport.abort()


def _broken(error: Exception) -> Transient:
    return Transient(f"the connection broke: {error}", reason="ConnectionBroken")
