"""How ``stop`` reaches the running agent: a Unix socket for root, one JSON object each way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict

from kubelet_bridge.agent.threads import in_thread

_LIMIT = 4096
_CONNECT_SECONDS = 15.0

Answer = Callable[[Dict[str, Any]], Awaitable[Dict[str, Any]]]


class ControlServer:
    """Answers on the socket, within the running agent."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.AbstractServer | None = None

    async def __aenter__(self) -> ControlServer:
        sock = await in_thread(_listening, self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=_LIMIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            # Not wait_closed(): since Python 3.12 it waits for whoever is still being answered.
        await in_thread(_remove, self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            answer = await self._answer(request)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # who asked is gone, or asked nonsense
        finally:
            writer.close()


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running agent, and wait for as long as its answer takes; blocks.

    Raises:
        OSError: no agent runs (one that is just being started again is waited for), or it ended meanwhile.
    """
    with _connected(path) as sock, sock.makefile("rwb") as file:
        file.write(json.dumps(request).encode() + b"\n")
        file.flush()
        line = file.readline()
    if not line:
        raise ConnectionError("the agent ended before it answered")
    answer = json.loads(line)
    return answer if isinstance(answer, dict) else {}


def _listening(path: Path) -> socket.socket:
    """A socket that only root may connect to: its directory is closed to others as well."""
    _remove(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _connected(path: Path) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return sock
