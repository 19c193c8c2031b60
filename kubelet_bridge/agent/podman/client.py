"""Podman's REST API over its unix socket. A connection is used once: cheap, and nothing gets mixed up."""

from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Mapping, Tuple

from kubelet_bridge.agent.podman import http1

API = "/v4.0.0/libpod"
_READ = 64 * 1024
_NOTHING: Mapping[str, str] = {}

Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ApiError(Exception):
    """Podman refused, in its own words; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Client:
    """Calls; each raises ``ApiError``, or ``OSError`` (``ConnectionError``) when nobody answers."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def call(self, method: str, path: str, query: Mapping[str, str] = _NOTHING, body: Any = None) -> Any:
        """One call: the JSON of its answer; None when it has none."""
        content = b"".join([piece async for piece in self._stream(method, path, query, body)])
        try:
            return json.loads(content) if content.strip() else None
        except ValueError as error:
            raise ApiError(502, f"podman's answer to {method} {path} is not JSON") from error

    async def lines(
        self, method: str, path: str, query: Mapping[str, str] = _NOTHING
    ) -> AsyncIterator[Mapping[str, Any]]:
        """One call that answers with JSON objects, a line each, as they come."""
        rest = b""
        async for piece in self._stream(method, path, query, None):
            *complete, rest = (rest + piece).split(b"\n")
            for line in complete:
                if line.strip():
                    yield json.loads(line)
        if rest.strip():
            yield json.loads(rest)

    async def hijack(
        self, path: str, query: Mapping[str, str] = _NOTHING, body: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for the bare connection; whoever gets it closes it."""
        reader, writer = await self._open()
        try:
            writer.write(http1.request("POST", API + path, query, body, upgrade=True))
            head = await _head(reader)
            if head.status not in {101, 200}:
                raise _refused(head.status, b"".join([piece async for piece in _body(reader, head)]))
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _open(self) -> Connection:
        return await asyncio.open_unix_connection(self._socket, limit=2**20)

    async def _stream(self, method: str, path: str, query: Mapping[str, str], body: Any) -> AsyncIterator[bytes]:
        reader, writer = await self._open()
        try:
            writer.write(http1.request(method, API + path, query, body))
            head = await _head(reader)
            if head.status >= 400:
                raise _refused(head.status, b"".join([piece async for piece in _body(reader, head)]))
            async for piece in _body(reader, head):
                yield piece
        finally:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> http1.Head:
    try:
        return http1.parse_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("podman closed the connection") from error
    except (asyncio.LimitOverrunError, http1.NotHttp) as error:
        raise ApiError(502, f"podman's answer cannot be understood: {error}") from error


async def _body(reader: asyncio.StreamReader, head: http1.Head) -> AsyncIterator[bytes]:
    if head.status in {204, 304}:
        return
    if head.chunked:
        chunks = http1.Chunks()
        while not chunks.done:
            data = await reader.read(_READ)
            if not data:
                raise ConnectionError("podman's answer has no end")
            yield chunks.feed(data)
        return
    left = head.length
    while left is None or left:
        data = await reader.read(_READ if left is None else min(left, _READ))
        if not data:
            if left is not None:
                raise ConnectionError("podman's answer has no end")
            return
        left = None if left is None else left - len(data)
        yield data


def _refused(status: int, content: bytes) -> ApiError:
    """``{"cause": …, "message": …, "response": 500}``; the message holds the cause."""
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = content.decode("utf-8", "replace").strip()
    return ApiError(status, message or f"HTTP status {status}")
