"""SPDY on aiohttp's own connection, after ``101 Switching Protocols``.

aiohttp (3.14, web_protocol.py) hands every byte after the request to the parser that is set, as it does for WebSockets,
and cancels the handler when the connection is lost. Its HTTP parser knows no other upgrade than WebSocket, so bytes
that come before the parser is set are lost; clients send none before they have read the 101.
"""

import asyncio
from collections import deque
from typing import Any, cast

from aiohttp import web

_HIGH_WATER = 512 * 1024


class UpgradedWire:
    """A ``Wire`` that is fed by aiohttp, and stops the socket when it is not emptied."""

    def __init__(self, response: web.StreamResponse, transport: asyncio.Transport) -> None:
        self._response, self._transport = response, transport
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._changed = asyncio.Event()

    async def receive(self) -> bytes:
        """See ``Wire``."""
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        """See ``Wire``."""
        await self._response.write(data)

    def abort(self) -> None:
        """See ``Wire``."""
        self._transport.abort()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """For aiohttp: bytes have come. Returns what aiohttp's own parsers do: not at an end, nothing left over."""
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size >= _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """For aiohttp: the connection is lost."""
        self._ended = True
        self._changed.set()


async def upgrade(request: web.Request, protocol: str) -> tuple[web.StreamResponse, UpgradedWire]:
    """Answer 101 with ``X-Stream-Protocol-Version: protocol``; the handler returns the response when it is done.

    Raises:
        ConnectionError: the client is gone.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
    response = web.StreamResponse(status=101, headers=headers)
    response.force_close()
    wire = UpgradedWire(response, transport)
    request.protocol.keep_alive(False)
    request.protocol.set_parser(cast(Any, wire))
    await response.prepare(request)
    return response, wire
