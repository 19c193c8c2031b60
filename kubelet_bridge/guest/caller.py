"""The second way to guests: where KubeVirt offers vsock, the bridge comes to them, and needs no network of theirs.

A guest then listens on a vsock port, and is the TLS client all the same: what comes through KubeVirt is passed to the
server that guests dial otherwise, by its front. So tokens, limits and everything else are those of TCP.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import BridgeError
from kubelet_bridge.guest.front import Front
from kubelet_bridge.guest.registry import GuestRegistry
from kubelet_bridge.model.meta import PodKey

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
_CONNECTING = 16
_LONGEST_WAIT = 30.0
_LIVED = 30.0
_PIECE = 64 * 1024


class ByteStream(Protocol):
    """A connection to a guest. Raises ``OSError`` when it breaks."""

    async def receive(self) -> bytes:
        """What comes next; empty at the end."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""


Dial = Callable[[PodKey], AbstractAsyncContextManager[ByteStream]]
"""Connects to the guest of a Pod. Raises ``BridgeError``."""


class _Over(Exception):
    """One end has nothing more to say."""


class GuestCaller:
    """Calls every guest that is expected and not connected, again and again."""

    def __init__(self, registry: GuestRegistry, front: Front, dial: Dial) -> None:
        self._registry, self._front, self._dial = registry, front, dial
        self._called: set[str] = set()
        self._connecting = asyncio.Semaphore(_CONNECTING)

    async def run(self) -> None:
        """Call for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                for key in self._registry.awaited():
                    if key.uid not in self._called:
                        self._called.add(key.uid)
                        group.create_task(self._keep_calling(key), name=f"call guest {key}")
                await asyncio.sleep(_LOOK_EVERY)

    async def _keep_calling(self, key: PodKey) -> None:
        """Until the guest is there by another way, or nobody expects it any more."""
        backoff = Backoff(base=0.5, cap=_LONGEST_WAIT)
        clock = asyncio.get_running_loop().time
        try:
            while self._registry.is_awaited(key.uid):
                began = clock()
                try:
                    await self._call(key)
                except (BridgeError, OSError) as error:
                    log.debug("the guest cannot be called", pod=str(key), error=str(error))
                if clock() - began > _LIVED:
                    backoff.reset()
                await asyncio.sleep(backoff.next())
        finally:
            self._called.discard(key.uid)

    async def _call(self, key: PodKey) -> None:
        await self._connecting.acquire()
        waiting = True
        try:
            async with self._dial(key) as stream:
                self._connecting.release()
                waiting = False
                await self._pass_on(key, stream)
        finally:
            if waiting:
                self._connecting.release()

    async def _pass_on(self, key: PodKey, stream: ByteStream) -> None:
        """Until either end has enough."""
        if (connection := self._front.admit(f"vsock/{key.uid}")) is None:
            return
        near, far = socket.socketpair()
        await self._front.join(connection, far)
        reader, writer = await asyncio.open_connection(sock=near)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_from_guest(stream, writer), name=f"vsock from {key}")
                group.create_task(_to_guest(reader, stream), name=f"vsock to {key}")
        except* (_Over, OSError):
            pass
        finally:
            writer.close()
            connection.abort()
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # which a task group forgets when another error came first


async def _from_guest(stream: ByteStream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.receive():
        writer.write(data)
        await writer.drain()
    raise _Over


async def _to_guest(reader: asyncio.StreamReader, stream: ByteStream) -> None:
    while data := await reader.read(_PIECE):
        await stream.send(data)
    raise _Over
