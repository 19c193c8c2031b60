"""Setting faults on a running host: HTTP on a Unix socket that only its owner may open."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import aiohttp
import msgspec
from aiohttp import web

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.addresses import MAX_HOSTS
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.faults import Fault
from kubelet_bridge.errors import Terminal

_LONGEST_PATH = 107


def socket_path(run: Path, node: str) -> Path:
    """Where the host ``node`` listens, in the cluster's directory ``run``.

    Raises:
        Terminal: the directory's name is too long for a socket in it.
    """
    path = run / f"{node}.sock"
    if len(str(path)) > _LONGEST_PATH:
        raise Terminal(
            f"{path}: longer than the {_LONGEST_PATH} bytes a Unix socket's path may have; use another directory"
        )
    return path


async def serve(path: Path, book: FaultBook, settle: Callable[[], Awaitable[None]]) -> None:
    """Serve ``book`` for ever. A change is answered once ``settle`` is through: what it means has been done."""

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(book.rules), content_type="application/json")

    async def post(request: web.Request) -> web.Response:
        try:
            rule = msgspec.json.decode(await request.read(), type=Fault)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        await book.set(rule)
        await settle()
        return web.Response(status=201)

    async def delete(request: web.Request) -> web.Response:
        count = await book.clear(request.match_info.get("id"))
        await settle()
        return web.Response(text=str(count))

    application = web.Application()
    application.add_routes([
        web.get("/faults", get), web.post("/faults", post), web.delete("/faults", delete),
        web.delete("/faults/{id}", delete),
    ])  # fmt: skip
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await files.remove(path)  # left by a process that was killed
        await web.UnixSite(runner, str(path)).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def clear_elsewhere(run: Path, node: str, rule: Fault) -> None:
    """Take a rule back on every host but ``node``. One that does not run keeps it."""
    for name in (f"dev-host-{number}" for number in range(MAX_HOSTS)):
        if name != node:
            async with FaultClient(socket_path(run, name)) as client:
                with contextlib.suppress(Terminal):
                    await client.clear(rule.id)


class FaultClient:
    """Talks to one running host. Use as an async context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession("http://host", connector=aiohttp.UnixConnector(path=str(self._path)))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def list(self) -> list[Fault]:
        """The faults that are set."""
        return msgspec.json.decode(await self._request("GET", "/faults"), type=list[Fault])

    async def set(self, rule: Fault) -> None:
        """Set one."""
        await self._request("POST", "/faults", msgspec.json.encode(rule))

    async def clear(self, rule_id: str | None = None) -> int:
        """Take one back, or all; how many that were."""
        return int(await self._request("DELETE", f"/faults/{rule_id}" if rule_id else "/faults"))

    async def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        if self._http is None:
            raise RuntimeError("the client is not open")
        try:
            async with self._http.request(method, path, data=body) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Terminal(f"the host behind {self._path} does not answer: {error}") from error
        if response.status >= 400:
            raise Terminal(answer.decode(errors="replace"))
        return answer
