"""A wire between guests and their bridge that can be cut: nothing comes through it any more, and nobody is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 64 * 1024


class Relay:
    """Takes connections on a port of its own and carries their bytes to ``target``.

    Attributes:
        port: where it listens.
        refused: connections that came while it was cut.
    """

    def __init__(self, host: str, target: int) -> None:
        self._host, self._target = host, target
        self._whole = asyncio.Event()
        self._whole.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0
        self.refused = 0

    def cut(self) -> None:
        """Carry nothing until ``mend``: what is under way stays where it is, as with a router that is gone."""
        self._whole.clear()

    def mend(self) -> None:
        """Go on carrying."""
        self._whole.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a guest's, for as long as it lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            if not self._whole.is_set():
                self.refused += 1
            await self._whole.wait()
            with contextlib.suppress(OSError):
                theirs, ours = await asyncio.open_connection(self._host, self._target)
                try:
                    await asyncio.gather(self._carry(reader, ours), self._carry(theirs, writer))
                finally:
                    ours.transport.abort()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.transport.abort()
            self._carrying.discard(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._whole.wait()
            target.write(data)
            await target.drain()
        raise ConnectionError("one end has hung up")

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


@asynccontextmanager
async def relay(host: str, target: int) -> AsyncIterator[Relay]:
    """A relay from a port of ``host`` to its port ``target``."""
    one = Relay(host, target)
    server = await asyncio.start_server(one.take, host, 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.close()
