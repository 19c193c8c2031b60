"""What waits to be sent to one guest: in order, bounded, and nothing twice of which only the newest counts."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient

_OVERHEAD = 512
"""What a message costs beside its bytes: many small ones must not cost more than a few large ones."""


def disconnected() -> Transient:
    """The error for whoever wants something of a guest that is not there."""
    return Transient("the guest's agent is not connected", reason="GuestDisconnected")


class _Waiting(NamedTuple):
    message: pb.BridgeMessage
    size: int


class Outbox:
    """A queue for one writer. A slow reader costs at most ``limit`` bytes and one message per key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._size = 0
        self._serial = 0
        self._closed = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def post(self, message: pb.BridgeMessage, *, key: Hashable = None) -> None:
        """Send some time soon, never waiting: for what is small and rare, or replaces its predecessor by its ``key``.

        A message that replaces another takes its place in the order. After ``close`` it is dropped.
        """
        if self._closed:
            return
        if key is None:
            self._serial += 1
            key = self._serial
        former = self._waiting.get(key)
        size = message.ByteSize() + _OVERHEAD
        self._size += size - (former.size if former else 0)
        self._waiting[key] = _Waiting(message, size)
        self._note()

    def peek(self, key: Hashable) -> pb.BridgeMessage | None:
        """The message that waits under ``key``."""
        waiting = self._waiting.get(key)
        return None if waiting is None else waiting.message

    async def send(self, message: pb.BridgeMessage, *, key: Hashable = None) -> None:
        """Put it behind the others, or in the place of its predecessor, once there is room.

        Raises:
            Transient: the guest is gone.
        """
        while not self._closed and self._size >= self._limit:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise disconnected()
        self.post(message, key=key)

    async def get(self) -> pb.BridgeMessage:
        """The next to be sent."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        _, (message, size) = self._waiting.popitem(last=False)
        self._size -= size
        if self._size < self._limit:
            self._room.set()
        return message

    def close(self) -> None:
        """Nothing is sent any more; who waits for room is told."""
        self._closed = True
        self._waiting.clear()
        self._size = 0
        self._room.set()

    def _note(self) -> None:
        self._changed.set()
