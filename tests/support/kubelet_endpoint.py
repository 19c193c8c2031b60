"""The kubelet API as a client meets it: real sockets, real TLS; only the reviewers are functions."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from kubelet_bridge.errors import ApiUnavailable, NotFound, Terminal
from kubelet_bridge.kubelet_api import configz, disabled, exposition, health, pods
from kubelet_bridge.kubelet_api.auth import AccessReviewer, Authenticator, Authorizer, TokenReviewer
from kubelet_bridge.kubelet_api.certificates import FileCertificate, KeyPair
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.connections import Limits
from kubelet_bridge.kubelet_api.gate import USER
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.stats import routes as stats
from kubelet_bridge.kubelet_api.stats.routes import Collect
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.access import Attributes, User
from tests.support import unplugged
from tests.support.authority import Authority
from tests.support.usage import Metered

FULL = "full"
STATS = "stats"
NOTHING = "nothing"


@dataclass
class World:
    """What the server is plugged into, and the files of its clients."""

    directory: Path
    authority: Authority = field(default_factory=Authority)
    clients: Authority = field(default_factory=lambda: Authority("client-ca"))
    down: bool = False
    unhealthy: str | None = None
    assigned: list[bytes] = field(default_factory=lambda: [b'{"metadata":{"name":"a"}}', b'{"metadata":{"name":"b"}}'])
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    collect: Collect = field(default_factory=lambda: partial(Metered().node, 0))
    port: int = 0
    tls: Tls | None = None
    server: KubeletServer | None = None
    more_routes: list[web.RouteDef] = field(default_factory=list)

    async def token(self, token: str) -> User | None:
        if self.down:
            raise ApiUnavailable(0, "Unreachable", "down")
        return User(name=token) if token in (FULL, STATS, NOTHING) else None

    async def access(self, user: User, wanted: Attributes) -> bool:
        if self.down:
            raise ApiUnavailable(0, "Unreachable", "down")
        return user.name in (FULL, "apiserver") or (user.name == STATS and wanted == Attributes("get", "stats"))

    def routes(self) -> list[web.RouteDef]:
        return [
            *self.more_routes,
            *health.routes("/healthz", {"ping": lambda: None, "syncloop": lambda: self.unhealthy}),
            *pods.routes(lambda: self.assigned, lambda: self.assigned[:1]),
            *exposition.routes("/metrics", scrape),
            *stats.routes(lambda: self.collect, {"ping": lambda: None, "syncloop": lambda: self.unhealthy}),
            *configz.routes(lambda: {"port": self.port}),
            *disabled.routes(),
            *unplugged.routes(),
            web.get("/test/whoami", whoami),
            web.get("/test/fails/{how}", fails),
            web.get("/test/slow", self.slow),
            web.get("/test/large", self.large),
            web.get("/test/flood", self.flood),
            web.post("/test/body", body_length),
        ]

    async def slow(self, _request: web.Request) -> web.StreamResponse:
        self.started.set()
        try:
            await self.release.wait()
        finally:
            self.ended.set()
        return web.Response(text="done")

    async def large(self, _request: web.Request) -> web.StreamResponse:
        self.ended.set()
        return web.Response(body=bytes(64 * 1024 * 1024))

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
        finally:
            self.ended.set()

    async def connections(self, number: int) -> None:
        """Wait until the server holds that many."""
        assert self.server is not None
        while len(self.server._connections) != number:
            await asyncio.sleep(0.001)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def certificate(self, name: str = "apiserver", *groups: str) -> Path:
        return self.clients.client(self.directory, name, *groups)

    @asynccontextmanager
    async def client(
        self, certificate: Path | None = None, *, keep: bool = True
    ) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self.authority.client_context(certificate), force_close=not keep)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session

    async def get(self, path: str, *, token: str | None = None, certificate: Path | None = None) -> tuple[int, str]:
        return await self.ask("GET", path, token=token, certificate=certificate)

    async def ask(
        self, method: str, path: str, *, token: str | None = None, certificate: Path | None = None
    ) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            self.client(certificate) as session,
            session.request(method, self.url(path), headers=headers, allow_redirects=False) as response,
        ):
            return response.status, await response.text()


async def scrape(_accept: str) -> tuple[bytes, str]:
    return b"up 1\n", "text/plain; version=0.0.4"


async def whoami(request: web.Request) -> web.StreamResponse:
    return web.json_response(msgspec.to_builtins(request[USER]))


async def body_length(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(len(await request.read())))


async def fails(request: web.Request) -> web.StreamResponse:
    match request.match_info["how"]:
        case "transient":
            raise ApiUnavailable(0, "Unreachable", "the API server is away")
        case "missing":
            raise NotFound(404, "NotFound", "no such pod")
        case "terminal":
            raise Terminal("cannot be")
        case _:
            raise RuntimeError("a bug")


Serving = Callable[..., contextlib.AbstractAsyncContextManager[World]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    @asynccontextmanager
    async def serve(
        limits: Limits | None = None, *, with_ca: bool = True, routes: Sequence[web.RouteDef] = (),
        only: list[web.RouteDef] | None = None, token: TokenReviewer | None = None,
        access: AccessReviewer | None = None,
    ) -> AsyncIterator[World]:  # fmt: skip
        world = World(tmp_path, more_routes=list(routes))
        certificate = FileCertificate(KeyPair(*world.authority.serving(tmp_path)), look_again=0.01)

        async def ca() -> bytes:
            return world.clients.pem

        world.tls = Tls(certificate, ClientCa(ca, interval=0.01) if with_ca else None)
        world.server = KubeletServer(
            "127.0.0.1", 0, tls=world.tls.current, routes=world.routes() if only is None else only,
            authenticator=Authenticator(token or world.token), authorizer=Authorizer(access or world.access),
            observe=lambda *what: world.seen.append(what), limits=limits, grace=0.2,
        )  # fmt: skip
        world.tls.on_new_authority(world.server.close_idle)
        async with world.tls, world.server:
            world.port = world.server.port
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(world.tls.run()), group.create_task(world.server.run())]
                yield world
                for task in tasks:
                    task.cancel()

    return serve


@asynccontextmanager
async def raw(world: World) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TLS connection without a client that knows HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=world.authority.client_context())
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
