"""SPDY inside a WebSocket: its binary messages are pieces of one byte stream, their boundaries mean nothing."""

from typing import Literal

import aiohttp
from aiohttp import web

LARGEST_MESSAGE = 16 * 1024 * 1024 + 16  # spdystream writes a whole frame at once


class WebSocketWire:
    """A ``Wire`` over an open WebSocket."""

    def __init__(self, socket: web.WebSocketResponse[Literal[False]], request: web.Request) -> None:
        self._socket, self._request = socket, request

    async def receive(self) -> bytes:
        """See ``Wire``. A text message ends it: no client of this protocol sends one."""
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def send(self, data: bytes) -> None:
        """See ``Wire``."""
        await self._socket.send_bytes(data)

    def abort(self) -> None:
        """See ``Wire``."""
        if (transport := self._request.transport) is not None:
            transport.abort()
