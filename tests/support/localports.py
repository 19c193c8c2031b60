"""A Pod whose ports are those of servers in the test."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from kubelet_bridge.daemon.inside.network import tcp
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kubelet_api.ports import Connection, PodRef, Ports

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class LocalPorts:
    """``ports.Ports``: of the Pod's port, the server's."""

    servers: dict[int, int]
    open: int = 0
    broken: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Connection]:
        async with tcp("127.0.0.1", self.servers.get(port, 1)) as connection:
            self.open += 1
            try:
                yield connection
            except BaseException:
                self.broken += 1
                raise
            finally:
                self.open -= 1
                self.changed.set()

    async def all_closed(self) -> None:
        while self.open:
            self.changed.clear()
            await self.changed.wait()

    def find(self, ref: PodRef) -> Ports:
        if (ref.namespace, ref.pod) != ("ns", "web") or ref.uid not in ("", "u-1"):
            raise NotFound(404, "NotFound", "pod does not exist")
        return self


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, to its end."""
    while data := await reader.read(1 << 18):
        writer.write(data)
        await writer.drain()


async def length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says how much came, when all has."""
    writer.write(b"%d" % len(await reader.read()))


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first and ends, whatever the client does."""
    writer.write(b"hello")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads and never says anything."""
    while await reader.read(1 << 18):
        pass


async def wedged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Neither reads nor writes."""
    await asyncio.Event().wait()


async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Breaks the connection after the first bytes."""
    await reader.read(10)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def local_ports(**servers: Serve) -> AsyncIterator[LocalPorts]:
    """``p80=echo`` is a Pod whose port 80 echoes."""
    ports = LocalPorts({})
    async with AsyncExitStack() as stack:
        for name, serve in servers.items():
            ports.servers[int(name[1:])] = await stack.enter_async_context(listening(serve))
        yield ports


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """A server on the loopback; its connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks))
