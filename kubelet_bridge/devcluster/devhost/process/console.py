"""A guest's console: the file its first process and its agent write to, from now on."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

_INTERVAL = 0.1
_PIECE = 65536


class ConsoleStream:
    """Follows the file until the guest has ended; nobody listens to what is typed."""

    def __init__(self, path: Path, has_ended: Callable[[], bool]) -> None:
        self._path = path
        self._has_ended = has_ended
        self._offset = path.stat().st_size if path.exists() else 0
        self._closed = False

    async def read(self) -> bytes:
        """What is said next; empty at the end."""
        while not self._closed:
            ended = self._has_ended()
            if piece := await asyncio.to_thread(self._piece):
                return piece.replace(b"\n", b"\r\n")
            if ended:
                break
            await asyncio.sleep(_INTERVAL)
        return b""

    async def write(self, data: bytes) -> None:
        """Nothing happens."""

    async def close(self) -> None:
        """Hang up."""
        self._closed = True

    def _piece(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            piece = os.pread(descriptor, _PIECE, self._offset)
        finally:
            os.close(descriptor)
        self._offset += len(piece)
        return piece
