"""A guest's serial line, shared: QEMU serves one client at a time, this is it, and every reader gets what it says."""

import asyncio
from pathlib import Path

from kubelet_bridge.devcluster.devhost.streams import MemoryStream


class SerialLine(asyncio.Protocol):
    """The one client of a serial socket."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._readers: set[MemoryStream] = set()

    async def connect(self, path: Path) -> None:
        """Pick up the line. Raises ``OSError``."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, str(path))

    def attach(self) -> MemoryStream:
        """A stream of what is said from now on; what is written to it is typed. Ends when the line does."""
        stream = MemoryStream(self._type, self._readers.discard)
        if self._transport is None:
            stream.end()
        else:
            self._readers.add(stream)
        return stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to type."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """The guest says something."""
        for reader in self._readers:
            reader.push(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The line is dead."""
        self._transport = None
        for reader in list(self._readers):
            reader.end()
        self._readers.clear()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _type(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class SocketStream:
    """One connection to a Unix socket, as a ``ByteStream``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Bytes for the other side. Raises ``ConnectionError``."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()
