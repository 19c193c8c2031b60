"""Port forwarding over WebSocket channels, through the real server with TLS to real sockets."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.portforward import routes
from kubelet_bridge.kubelet_api.portforward.channels import (
    BadPorts,
    Subprotocol,
    decode,
    encode,
    greeting,
    requested_ports,
)
from kubelet_bridge.kubelet_api.ports import Connection
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from tests.support.kubelet_endpoint import FULL, Serving, World
from tests.support.localports import LocalPorts, echo, hello, local_ports, silent, wedged

PATH = "/portForward/ns/web"
HEADERS = {"Authorization": f"Bearer {FULL}"}
V4 = "v4.channel.k8s.io"

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def connected(
    world: World, query: str, *protocols: str, path: str = PATH, method: str = "GET"
) -> AsyncIterator[Socket]:
    async with (
        world.client() as http,
        http.ws_connect(world.url(f"{path}?{query}"), protocols=protocols, headers=HEADERS, method=method) as socket,
    ):
        yield socket


def served(serving: Serving, ports: LocalPorts, limits: Limits | None = None):  # type: ignore[no-untyped-def]
    return serving(routes=routes.routes(ports.find, limits))


async def collect(socket: Socket) -> dict[int, bytes]:
    """Everything until the close, by channel."""
    found: dict[int, bytes] = {}
    async for message in socket:
        assert message.type is aiohttp.WSMsgType.BINARY
        found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
    return found


@pytest.mark.parametrize("protocols", [(), (V4,), ("v9.channel.k8s.io", V4)])
async def test_both_channels_begin_with_the_port(serving: Serving, protocols: tuple[str, ...]) -> None:
    async with (
        local_ports(p80=hello, p8080=hello) as ports,
        served(serving, ports) as world,
        connected(world, "port=80&port=8080", *protocols) as socket,
    ):
        assert socket.protocol == (V4 if protocols else None)
        found = await collect(socket)
        assert found == {0: b"\x50\x00hello", 1: b"\x50\x00", 2: b"\x90\x1fhello", 3: b"\x90\x1f"}
        assert socket.close_code == 1000


async def test_bytes_go_both_ways(serving: Serving) -> None:
    async with local_ports(p80=echo, p81=echo) as ports, served(serving, ports) as world:
        async with connected(world, "port=80,81", V4) as socket:
            for channel in (0, 1, 2, 3):
                assert await socket.receive_bytes() == bytes([channel]) + greeting(80 + channel // 2)
            await socket.send_bytes(b"\x02" + b"second" * 10_000)
            received = b""
            while len(received) < 60_000:
                message = await socket.receive_bytes()
                assert message[0] == 2
                received += message[1:]
            assert received == b"second" * 10_000
            for ignored in (b"", b"\x00", b"\x01never read", b"\x04no such port", b"\xffxx"):
                await socket.send_bytes(ignored)
            await socket.send_bytes(b"\x00first")
            assert await socket.receive_bytes() == b"\x00first"
        await ports.all_closed()


async def test_base64_is_text(serving: Serving) -> None:
    async with (
        local_ports(p80=echo) as ports,
        served(serving, ports) as world,
        connected(world, "port=80", "v4.base64.channel.k8s.io") as socket,
    ):
        assert await socket.receive_str() == "0" + base64.b64encode(greeting(80)).decode()
        assert await socket.receive_str() == "1" + base64.b64encode(greeting(80)).decode()
        await socket.send_str("0not base64")
        await socket.send_str("0" + base64.b64encode(b"bytes \xff").decode())
        assert await socket.receive_str() == "0" + base64.b64encode(b"bytes \xff").decode()


async def test_a_port_nobody_listens_on(serving: Serving) -> None:
    async with (
        local_ports(p80=hello) as ports,
        served(serving, ports) as world,
        connected(world, "port=81&port=80", V4, path=f"{PATH}/u-1") as socket,
    ):
        found = await collect(socket)
        assert found[1].startswith(b"\x51\x00error forwarding port 81 to pod web, uid u-1: ")
        assert found[1].endswith(b"connect: connection refused")
        assert found[2] == b"\x50\x00hello"


class Late(LocalPorts):
    """Port 81 fails, but only when it is let."""

    release: asyncio.Event

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Connection]:
        if port == 81:
            await self.release.wait()
        async with super().connect(port) as connection:
            yield connection


async def test_a_port_that_fails_holds_up_no_other(serving: Serving) -> None:
    async with local_ports(p80=echo) as ports:
        late = Late(ports.servers)
        late.release = asyncio.Event()
        async with served(serving, late) as world, connected(world, "port=81&port=80", V4) as socket:
            for _ in range(5):
                await socket.send_bytes(b"\x00nobody reads this")
            await asyncio.sleep(0.1)  # so that they are there; if not, it is no failure
            late.release.set()
            while not (await socket.receive_bytes()).endswith(b"refused"):
                pass
            await socket.send_bytes(b"\x00nor this")
            await socket.send_bytes(b"\x02through")
            assert await socket.receive_bytes() == b"\x02through"


async def test_a_client_that_goes_drops_its_connections(serving: Serving) -> None:
    async with local_ports(p80=silent, p81=wedged) as ports, served(serving, ports) as world:
        async with connected(world, "port=80,81", V4) as socket:
            await socket.send_bytes(b"\x00x")
            while ports.open < 2:
                await asyncio.sleep(0.001)
        await ports.all_closed()


async def test_an_idle_client_is_ended(serving: Serving) -> None:
    async with local_ports(p80=silent) as ports, served(serving, ports, Limits(idle=0.1)) as world:
        async with connected(world, "port=80", V4) as socket:
            await collect(socket)
        await ports.all_closed()


@pytest.mark.parametrize(
    ("query", "protocols", "path", "status"),
    [
        ("", (V4,), PATH, 400),
        ("port=", (V4,), PATH, 400),
        ("port=80,http", (V4,), PATH, 400),
        ("port=80", ("v5.channel.k8s.io",), PATH, 403),
        ("port=80", (V4,), "/portForward/ns/other", 404),
        ("", ("SPDY/3.1+other.k8s.io",), PATH, 403),
        ("", ("SPDY/3.1+portforward.k8s.io",), "/portForward/ns/other", 404),
    ],
)
async def test_what_is_refused_before(
    serving: Serving, query: str, protocols: tuple[str, ...], path: str, status: int
) -> None:
    async with local_ports(p80=echo) as ports, served(serving, ports) as world:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(world, query, *protocols, path=path):
                pass
        assert refused.value.status == status
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(world, "port=80", V4, method="POST"):
                pass
        assert refused.value.status == 405


@pytest.mark.parametrize(
    ("values", "ports"),
    [(["80"], [80]), (["80,81", "82"], [80, 81, 82]), (["80", "80"], [80, 80]), (["65535"], [65535])],
)
def test_ports_of_a_query(values: list[str], ports: list[int]) -> None:
    assert requested_ports(values) == ports


@pytest.mark.parametrize(
    "values",
    [[], [""], ["80,"], ["0"], ["65536"], ["-1"], ["+80"], ["0x50"], ["80 "], ["99999999999"], ["1,2,3"] * 50],
)
def test_queries_without_ports(values: list[str]) -> None:
    with pytest.raises(BadPorts):
        requested_ports(values)


@given(st.sampled_from(Subprotocol), st.integers(0, 199), st.binary(min_size=1))
def test_messages_survive_the_way(protocol: Subprotocol, channel: int, data: bytes) -> None:
    assert decode(protocol, encode(protocol, channel, data)) == (channel, data)


@given(st.sampled_from(Subprotocol), st.binary(max_size=20))
def test_no_message_is_an_error(protocol: Subprotocol, message: bytes) -> None:
    decode(protocol, message)
