"""One stream of a connection, as handlers use it."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.frames import ResetStatus

_PIECE_COST = 64  # bytes that a piece takes beside its data: many small ones are not to pass for few


class Sender(Protocol):
    """What a stream needs of its connection."""

    async def send_data(self, stream_id: int, data: bytes) -> None:
        """Send all of it, waiting while much waits to be sent."""

    def send_fin(self, stream_id: int) -> None:
        """Say that nothing follows."""

    def send_reset(self, stream_id: int, status: ResetStatus) -> None:
        """End the stream both ways."""

    def taken(self, stream_id: int, cost: int) -> None:
        """``cost`` bytes are no longer held for the stream."""


class SpdyStream:
    """Bytes both ways; each side ends its own half.

    Attributes:
        id: its number; odd.
        headers: what the client opened it with; names in lower case.
    """

    def __init__(self, sender: Sender, stream_id: int, headers: Mapping[str, str], *, fin: bool) -> None:
        self.id, self.headers = stream_id, dict(headers)
        self._sender = sender
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._fin = fin
        self._ended: str | None = None
        self._discarding = False
        self._finished = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """All that has come meanwhile; waits for at least a byte. Empty once the client has ended its half.

        Raises:
            StreamEnded: reset, or the connection has ended; what had come before its end was returned first.
        """
        while not self._pieces:
            if self._fin:
                return b""
            if self._ended is not None:
                raise StreamEnded(self._ended)
            self._changed.clear()
            await self._changed.wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._release()
        return data

    async def write(self, data: bytes) -> None:
        """Send ``data``, waiting while the client takes no more. ``data`` must not change afterwards.

        Raises:
            StreamEnded: reset, closed by us, or the connection has ended.
        """
        self._check_writable()
        await self._sender.send_data(self.id, data)
        self._check_writable()

    async def close_write(self) -> None:
        """End our half; reading goes on. Once is enough."""
        if not self._finished and self._ended is None:
            self._finished = True
            self._sender.send_fin(self.id)

    def reset(self, code: ResetStatus = ResetStatus.CANCEL) -> None:
        """End both halves, and forget what was not read."""
        self._release()
        if self._ended is None:
            self._ended = f"stream {self.id} was reset by the server"
            self._changed.set()
            self._sender.send_reset(self.id, code)

    def discard(self) -> None:
        """Nobody will read: drop what has come and what comes, so that it holds up no other stream."""
        self._discarding = True
        self._release()

    @property
    def ended(self) -> str | None:
        """Why neither half goes on, if so."""
        return self._ended

    def feed(self, data: bytes, *, fin: bool) -> int:
        """For the connection: what has come. Returns what it costs to hold it."""
        cost = 0
        if data and not self._discarding and self._ended is None:
            self._pieces.append(data)
            cost = len(data) + _PIECE_COST
            self._held += cost
        self._fin = self._fin or fin
        self._changed.set()
        return cost

    def end(self, why: str) -> None:
        """For the connection: neither half goes on. What has come can still be read."""
        if self._ended is None:
            self._ended = why
            self._changed.set()

    def _release(self) -> None:
        self._pieces.clear()
        held, self._held = self._held, 0
        if held:
            self._sender.taken(self.id, held)

    def _check_writable(self) -> None:
        if self._ended is not None:
            raise StreamEnded(self._ended)
        if self._finished:
            raise StreamEnded(f"stream {self.id} is closed for writing")
