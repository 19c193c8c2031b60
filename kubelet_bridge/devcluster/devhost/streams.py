"""Byte streams without a file descriptor: what the scripted guest's serial line and screen are made of."""

import asyncio
from collections.abc import Callable

_PENDING = 256
"""Pieces a slow reader may lag behind; then the line drops output, as a UART without flow control does."""


class MemoryStream:
    """One end of a stream: its reader gets what ``push`` was given; what it writes goes to ``receive``."""

    def __init__(self, receive: Callable[[bytes], None], closed: Callable[["MemoryStream"], None]) -> None:
        self._receive = receive
        self._closed = closed
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False

    def push(self, data: bytes) -> None:
        """Say ``data`` to the reader."""
        if data and not self._ended and self._pieces.qsize() < _PENDING:
            self._pieces.put_nowait(data)

    def end(self) -> None:
        """Nothing more will be said."""
        if not self._ended:
            self._ended = True
            self._pieces.put_nowait(b"")

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        """Pass ``data`` on."""
        if not self._ended:
            self._receive(data)

    async def close(self) -> None:
        """Hang up."""
        self.end()
        self._closed(self)
