"""A bad network between a client and the real API server: it cuts, falls silent, delays, reorders, fails on demand."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.watch import LineSplitter

_HOP = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "authorization"}
_EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


class Proxy:
    """Speaks plain HTTP to the client and the API server's TLS upstream, as the user of ``kubeconfig``.

    Attributes:
        down: connections are closed without an answer.
        hang: requests other than watches are never answered.
        mute: open watches stay open and nothing comes through them any more.
        short: watches are ended at once.
        delay: each watch event waits up to so many seconds.
        reorder: events that came together are shuffled.
        gone_once: plurals whose next watch is answered 410; with ``gone_as_event`` inside a 200, as an ERROR event.
        fail: how many of the next requests of a method are answered 500.
        unknown: what is below this path is answered as kinds that the API server does not have.
        instead: answers everything with this text, status and headers.
        requests: method and path of everything asked, watches with the method WATCH.
    """

    def __init__(self, upstream: credentials.Credentials) -> None:
        self._upstream = upstream
        self._watches: set[asyncio.Task[object]] = set()
        self._closing = asyncio.Event()
        self.down = self.hang = self.mute = self.short = self.reorder = self.gone_as_event = False
        self.delay = 0.0
        self.gone_once: set[str] = set()
        self.fail: dict[str, int] = {}
        self.unknown = ""
        self.instead: tuple[str, int, dict[str, str]] | None = None
        self.requests: list[tuple[str, str]] = []

    def cut(self) -> None:
        """Break every watch that is open now."""
        for task in list(self._watches):
            task.cancel()

    def count(self, method: str) -> int:
        """How many requests of that method came."""
        return sum(one == method for one, _ in self.requests)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = "WATCH" if request.query.get("watch") == "true" else request.method
        self.requests.append((method, request.path))
        if self.down and request.transport is not None:
            request.transport.close()
            return web.Response(status=500)
        if self.hang and method != "WATCH":
            await self._closing.wait()
        fault = await self._fault(request, method)
        return fault if fault is not None else await self._forward(request, watching=method == "WATCH")

    async def _fault(self, request: web.Request, method: str) -> web.StreamResponse | None:
        kind = request.path.rpartition("/")[2]
        if self.instead is not None:
            text, status, headers = self.instead
            return web.Response(text=text, status=status, headers=headers)
        if self.unknown and request.path.startswith(self.unknown):
            return web.Response(text="404 page not found\n", status=404)
        if method == "WATCH" and kind in self.gone_once:
            self.gone_once.discard(kind)
            if self.gone_as_event:
                return web.json_response({"type": "ERROR", "object": _EXPIRED})
            return web.json_response(_EXPIRED, status=410)
        if method == "WATCH" and self.short:
            return web.Response(text="")
        if self.fail.get(method, 0) > 0:
            self.fail[method] -= 1
            return web.json_response({"kind": "Status", "code": 500, "reason": "InternalError"}, status=500)
        return None

    async def _forward(self, request: web.Request, *, watching: bool) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        if (authorization := await self._upstream.authorization()) is not None:
            headers["Authorization"] = authorization
        async with self._http.request(
            request.method, self._upstream.base_url + request.path_qs, data=await request.read() or None,
            headers=headers, timeout=aiohttp.ClientTimeout(total=None),
        ) as upstream:  # fmt: skip
            if watching and upstream.status == 200:
                return await self._relay(request, upstream)
            kept = {k: v for k, v in upstream.headers.items() if k.lower() not in _HOP}
            return web.Response(status=upstream.status, body=await upstream.read(), headers=kept)

    async def _relay(self, request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            await self._pump(upstream, response)
        except (asyncio.CancelledError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watches.discard(task)
        return response

    async def _pump(self, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        splitter = LineSplitter()
        async for chunk in upstream.content.iter_any():
            for line in self._order(splitter.feed(chunk)):
                if self.mute:
                    await self._closing.wait()
                if self.delay:
                    await asyncio.sleep(random.uniform(0, self.delay))
                await response.write(line + b"\n")

    def _order(self, lines: Iterator[bytes]) -> list[bytes]:
        batch = list(lines)
        if self.reorder:
            random.shuffle(batch)
        return batch

    async def open(self) -> None:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream.tls or True, limit=0), auto_decompress=True
        )

    async def close(self) -> None:
        self._closing.set()
        self.cut()
        await self._http.close()


@asynccontextmanager
async def proxy(kubeconfig: Path, directory: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """A running proxy, and a kubeconfig that leads through it."""
    one = Proxy(await credentials.load(kubeconfig))
    await one.open()
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", one.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    path = directory / "proxied.kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    try:
        yield one, path
    finally:
        await one.close()
        await runner.cleanup()
