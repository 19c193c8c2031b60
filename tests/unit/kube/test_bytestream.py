"""Consoles, screens and ports through KubeVirt's subresources, against a stand-in for virt-api."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web

from kubelet_bridge.errors import ApiError, ApiUnavailable, Forbidden, NotFound
from kubelet_bridge.kube.bytestream import PROTOCOL, ByteStream, ByteStreams
from kubelet_bridge.kube.credentials import Credentials

BASE = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/web"

Open = Callable[[ByteStreams], AbstractAsyncContextManager[ByteStream]]

WAYS: list[tuple[Open, str]] = [
    (lambda streams: streams.console("default", "web"), f"{BASE}/console"),
    (lambda streams: streams.vnc("default", "web"), f"{BASE}/vnc"),
    (lambda streams: streams.portforward("default", "web", 22), f"{BASE}/portforward/22"),
    (lambda streams: streams.vsock("default", "web", 10251), f"{BASE}/vsock?port=10251&tls=false"),
]


FLOOD = 500


class VirtApi:
    """Echoes, refuses, or goes away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.protocols: list[str | None] = []
        self.refuse = 0
        self.open = 0
        self.port = 0
        self.released = asyncio.Event()

    async def flood(self, socket: web.WebSocketResponse) -> None:
        for _ in range(FLOOD):
            await socket.send_bytes(bytes(65536))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.refuse:
            body = {"kind": "Status", "reason": "Whatever", "message": "virt-api says no"}
            return web.json_response(body, status=self.refuse)
        assert request.headers["Authorization"] == "Bearer us"
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        self.protocols.append(socket.ws_protocol)
        self.open += 1
        try:
            await socket.send_str("text means nothing")
            await socket.send_bytes(b"")
            async for message in socket:
                if message.data == b"hang up":
                    break
                if message.data == b"flood":
                    await self.flood(socket)
                if message.data == b"be silent":
                    await self.released.wait()
                await socket.send_bytes(message.data)
        finally:
            self.open -= 1
        return socket


async def _us() -> str:
    return "Bearer us"


@pytest.fixture
async def api() -> AsyncIterator[VirtApi]:
    api = VirtApi()
    app = web.Application()
    app.add_routes([web.get(f"{BASE}/{{what:.*}}", api.stream)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.port = runner.addresses[0][1]
    yield api
    await runner.cleanup()


@pytest.fixture
async def streams(api: VirtApi) -> AsyncIterator[ByteStreams]:
    async with ByteStreams(Credentials(f"http://127.0.0.1:{api.port}", None, _us)) as opened:
        yield opened


@pytest.mark.parametrize(("way", "path"), WAYS)
async def test_bytes_go_both_ways_until_one_side_ends(api: VirtApi, streams: ByteStreams, way: Open, path: str) -> None:
    async with way(streams) as stream:
        for data in (b"hello", bytes(range(256)) * 300):
            await stream.send(data)
            assert await stream.receive() == data
        await stream.send(b"hang up")
        assert await stream.receive() == b""
    assert (api.asked, api.protocols) == ([path], [PROTOCOL])


@pytest.mark.parametrize(("way", "path"), WAYS)
async def test_leaving_it_ends_it(api: VirtApi, streams: ByteStreams, way: Open, path: str) -> None:
    async with way(streams) as stream:
        await stream.send(b"x")
        assert await stream.receive() == b"x"
        assert api.open == 1
    while api.open:
        await asyncio.sleep(0.001)
    assert api.asked == [path]


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (403, Forbidden), (400, ApiError), (500, ApiUnavailable)]
)
async def test_a_refusal_is_the_api_servers_error(
    api: VirtApi, streams: ByteStreams, status: int, error: type[ApiError]
) -> None:
    api.refuse = status
    for way, _ in WAYS:
        with pytest.raises(error):
            async with way(streams):
                pass


async def test_nobody_there_is_worth_another_try() -> None:
    async with ByteStreams(Credentials("http://127.0.0.1:1", None, _us)) as streams:
        with pytest.raises(ApiUnavailable):
            async with streams.console("default", "web"):
                pass


async def test_many_at_once_do_not_wait_for_each_other(api: VirtApi, streams: ByteStreams) -> None:
    async def one(number: int, ready: asyncio.Barrier) -> None:
        async with streams.portforward("default", "web", number) as stream:
            await ready.wait()
            await stream.send(b"%d" % number)
            assert await stream.receive() == b"%d" % number

    ready = asyncio.Barrier(150)
    async with asyncio.TaskGroup() as group:
        for number in range(150):
            group.create_task(one(number, ready))
    assert len(api.asked) == 150


async def test_a_reader_that_takes_his_time_loses_nothing(api: VirtApi) -> None:
    """Longer than pings and their answers may take: none is seen while nothing is read."""
    credentials = Credentials(f"http://127.0.0.1:{api.port}", None, _us)
    async with ByteStreams(credentials, ping=0.02, silent=0.2) as streams, streams.vnc("default", "web") as stream:
        await stream.send(b"flood")
        await asyncio.sleep(1.0)
        left = FLOOD * 65536
        while left > 0:
            left -= len(await stream.receive())
        assert await stream.receive() == b"flood"


async def test_a_quiet_stream_stays_as_long_as_pings_are_answered(api: VirtApi) -> None:
    credentials = Credentials(f"http://127.0.0.1:{api.port}", None, _us)
    async with ByteStreams(credentials, ping=0.02, silent=0.2) as streams, streams.vnc("default", "web") as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await stream.receive()
        await stream.send(b"still here")
        assert await stream.receive() == b"still here"


async def test_one_who_does_not_answer_is_given_up(api: VirtApi) -> None:
    credentials = Credentials(f"http://127.0.0.1:{api.port}", None, _us)
    async with ByteStreams(credentials, ping=0.02, silent=0.2) as streams, streams.vnc("default", "web") as stream:
        await stream.send(b"be silent")
        with pytest.raises(ConnectionError):
            await stream.receive()
        api.released.set()


async def test_a_name_that_would_lead_elsewhere_is_not_sent(api: VirtApi, streams: ByteStreams) -> None:
    with pytest.raises(Exception, match="name"):
        async with streams.console("default", "../web"):
            pass
    assert api.asked == []
