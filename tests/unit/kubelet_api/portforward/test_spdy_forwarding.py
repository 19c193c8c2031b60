"""Port forwarding over SPDY, plain and in a WebSocket, through the real server with TLS to real sockets."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from kubelet_bridge.kubelet_api.portforward import routes
from kubelet_bridge.kubelet_api.portforward.routes import TUNNEL
from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus, ResetStatus
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from tests.support import spdystream
from tests.support.kubelet_endpoint import FULL, NOTHING, Serving, World
from tests.support.localports import LocalPorts, echo, hello, length, local_ports, rude, silent, wedged
from tests.support.spdyclient import Answer, ClientStream, SpdyClient, StreamReset, WebSocketClientWire, upgrade

PATH = "/portForward/ns/web"
BEARER = f"Authorization: Bearer {FULL}"


@asynccontextmanager
async def forwarding(
    serving: Serving, ports: LocalPorts, *, tunnel: bool = False, limits: Limits | None = None
) -> AsyncIterator[SpdyClient]:
    async with serving(routes=routes.routes(ports.find, limits)) as world, client_of(world, tunnel=tunnel) as client:
        yield client


@asynccontextmanager
async def client_of(world: World, *, tunnel: bool = False, path: str = PATH) -> AsyncIterator[SpdyClient]:
    if tunnel:
        async with (
            world.client() as http,
            http.ws_connect(
                world.url(path), protocols=[TUNNEL], headers={"Authorization": f"Bearer {FULL}"}, max_msg_size=1 << 25
            ) as socket,
            SpdyClient(WebSocketClientWire(socket)) as client,
        ):
            assert socket.protocol == TUNNEL
            yield client
        return
    async with asked(world, path) as answer, SpdyClient(answer.wire) as client:
        assert answer.status == 101, answer.body
        yield client


def asked(world: World, path: str = PATH, **more: object) -> contextlib.AbstractAsyncContextManager[Answer]:
    extra = (BEARER, "Content-Length: 0")
    return upgrade(world.port, path, tls=world.authority.client_context(), **{"extra": extra, **more})  # type: ignore[arg-type]


async def pair(client: SpdyClient, port: int = 80, request: str | None = "0") -> tuple[ClientStream, ClientStream]:
    """Error and data stream, opened as client-go does."""
    headers = {"port": str(port)} | ({"requestid": request} if request is not None else {})
    error = await client.open({"streamtype": "error", **headers})
    await error.close()
    return error, await client.open({"streamtype": "data", **headers})


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("request_id", ["0", None])
async def test_bytes_go_both_ways_and_halves_end_apart(serving: Serving, tunnel: bool, request_id: str | None) -> None:
    async with local_ports(p80=length) as ports:
        async with forwarding(serving, ports, tunnel=tunnel) as client:
            error, data = await pair(client, request=request_id)
            for _ in range(10):
                await data.write(b"x" * 100_000)
            await data.close()
            assert await data.read_all() == b"1000000"
            assert await error.read_all() == b""
            assert data.reset_by_server is error.reset_by_server is None
            await ports.all_closed()
        assert ports.broken == 0


async def test_the_bytes_of_spdystream(serving: Serving) -> None:
    async with local_ports(p80=echo) as ports, serving(routes=routes.routes(ports.find)) as world:
        async with asked(world) as answer:
            frames = spdystream
            sent = frames.SYN_ERROR + frames.FIN_1 + frames.SYN_DATA + frames.DATA_3 + frames.PING_1 + frames.FIN_3
            await answer.wire.send(sent)
            received = b""
            while not received.endswith(frames.FIN_1) and not received.endswith(frames.FIN_3 + frames.FIN_1):
                received += await answer.wire.receive()
        assert frames.DATA_3 in received
        assert frames.PING_1 in received
        assert frames.FIN_3 in received


@pytest.mark.parametrize("tunnel", [False, True])
async def test_many_connections_at_once(serving: Serving, tunnel: bool) -> None:
    async def through(client: SpdyClient, number: int) -> None:
        payload = hashlib.sha256(b"%d" % number).digest() * 20_000
        error, data = await pair(client, request=str(number))
        async with asyncio.TaskGroup() as group:
            group.create_task(data.write(payload, fin=True))
            received = group.create_task(data.read_all())
        assert received.result() == payload
        assert await error.read_all() == b""

    async with local_ports(p80=echo) as ports, forwarding(serving, ports, tunnel=tunnel) as client:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(through(client, number))
        await ports.all_closed()


@pytest.mark.parametrize("tunnel", [False, True])
async def test_a_port_nobody_listens_on(serving: Serving, tunnel: bool) -> None:
    async with local_ports(p80=echo) as ports, forwarding(serving, ports, tunnel=tunnel) as client:
        error, data = await pair(client, 81)
        text = (await error.read_all()).decode()
        assert text.startswith("error forwarding port 81 to pod web, uid : ")
        assert text.endswith("connect: connection refused")
        assert await data.read_all() == b""
        assert (error.reset_by_server, data.reset_by_server) == (ResetStatus.CANCEL, ResetStatus.CANCEL)
        error, data = await pair(client, 80, "1")
        await data.write(b"still", fin=True)
        assert await data.read_all() == b"still"


async def test_a_connection_that_breaks_is_an_error(serving: Serving) -> None:
    async with local_ports(p80=rude) as ports, forwarding(serving, ports) as client:
        error, data = await pair(client)
        await data.write(b"x" * 100)
        assert b"error forwarding port 80" in await error.read_all()
        assert data.reset_by_server is ResetStatus.CANCEL


async def test_the_guest_may_end_first(serving: Serving) -> None:
    async with local_ports(p80=hello) as ports, forwarding(serving, ports) as client:
        error, data = await pair(client)
        assert await data.read_all() == b"hello"
        assert await error.read_all() == b"", "kubectl waits for this before it ends its half"
        await data.write(b"too late")
        await data.close()
        await ports.all_closed()


async def test_a_client_that_resets_drops_the_connection(serving: Serving) -> None:
    async with local_ports(p80=silent) as ports, forwarding(serving, ports) as client:
        error, data = await pair(client)
        await data.write(b"x")
        while not ports.open:
            await asyncio.sleep(0.001)
        await data.reset()
        assert await error.read_all() == b""
        await ports.all_closed()
        assert ports.broken == 1


async def test_a_port_that_takes_nothing_is_given_up_with_its_stream(serving: Serving) -> None:
    async with local_ports(p80=wedged, p81=echo) as ports, forwarding(serving, ports) as client:
        stuck, other = (await pair(client, 80))[1], (await pair(client, 81, "1"))[1]
        await stuck.write(bytes(500_000))
        await other.write(b"meanwhile", fin=True)
        assert await other.read_all() == b"meanwhile"
        await stuck.reset()
        await ports.all_closed()


@pytest.mark.parametrize("tunnel", [False, True])
async def test_a_client_that_vanishes_drops_everything(serving: Serving, tunnel: bool) -> None:
    async with local_ports(p80=silent) as ports, serving(routes=routes.routes(ports.find)) as world:
        async with client_of(world, tunnel=tunnel) as client:
            for number in range(5):
                await pair(client, request=str(number))
            while ports.open < 5:
                await asyncio.sleep(0.001)
        await ports.all_closed()


async def test_what_is_written_to_an_error_stream_holds_up_nothing(serving: Serving) -> None:
    async with (
        local_ports(p80=echo) as ports,
        forwarding(serving, ports, limits=Limits(stream_buffer=10_000)) as client,
    ):
        error = await client.open({"streamtype": "error", "port": "80", "requestid": "0"})
        data = await client.open({"streamtype": "data", "port": "80", "requestid": "0"})
        for _ in range(5):
            await error.write(bytes(50_000))
        await data.write(b"through", fin=True)
        assert await data.read_all() == b"through"


async def test_goaway_ends_it(serving: Serving) -> None:
    async with local_ports(p80=silent) as ports, forwarding(serving, ports) as client:
        await pair(client)
        await client.open({"streamtype": "error", "port": "80", "requestid": "alone"})
        await client.send(spdystream.GOAWAY)
        await client.ended.wait()
        await ports.all_closed()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"streamtype": "data"},
        {"port": "80"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "http"},
        {"streamtype": "data", "port": "\xb2"},
        {"streamtype": "stdin", "port": "80"},
    ],
)
async def test_streams_that_are_not_for_this_are_reset_without_a_reply(
    serving: Serving, headers: dict[str, str]
) -> None:
    async with local_ports(p80=echo) as ports, forwarding(serving, ports) as client:
        stream = await client.open(headers)
        assert stream.reset_by_server is ResetStatus.CANCEL
        _, data = await pair(client)
        await data.write(b"fine", fin=True)
        assert await data.read_all() == b"fine"


async def test_a_stream_that_stays_alone_is_told_so(serving: Serving) -> None:
    async with local_ports(p80=echo) as ports, forwarding(serving, ports, limits=Limits(creation=0.05)) as client:
        error = await client.open({"streamtype": "error", "port": "80", "requestid": "7"})
        assert await error.read_all() == b"(request=7) timed out waiting for streams"
        data = await client.open({"streamtype": "data", "port": "80", "requestid": "8"})
        with pytest.raises(StreamReset):
            await data.read()


async def test_a_stream_twice(serving: Serving) -> None:
    async with local_ports(p80=echo) as ports, forwarding(serving, ports) as client:
        headers = {"streamtype": "error", "port": "80", "requestid": "7"}
        first, second = await client.open(headers), await client.open(headers)
        with pytest.raises(StreamReset):
            await second.read()
        assert await first.read() == b"error processing stream for request 7: error stream already assigned"
        data = await client.open({**headers, "streamtype": "data"})
        await data.write(b"goes on", fin=True)
        assert await data.read_all() == b"goes on"


async def test_an_idle_client_is_ended(serving: Serving) -> None:
    async with local_ports(p80=silent) as ports:
        async with forwarding(serving, ports, limits=Limits(idle=0.1)) as client:
            await pair(client)
            assert await client.goaway is GoAwayStatus.OK
            await client.ended.wait()
        await ports.all_closed()


@pytest.mark.parametrize(
    ("last", "ended"),
    [(spdystream.GOAWAY, "the client has ended the connection"), (b"\0" * 8, "protocol error: data of stream 0")],
)
async def test_the_audit_says_how_much_and_how_it_ended(serving: Serving, last: bytes, ended: str) -> None:
    async with local_ports(p80=length) as ports, serving(routes=routes.routes(ports.find)) as world:
        with capture_logs() as lines:
            async with client_of(world) as client:
                _, data = await pair(client)
                await data.write(b"x" * 1000, fin=True)
                assert await data.read_all() == b"1000"
                await ports.all_closed()
                await client.send(last)
                await client.ended.wait()
            while not (found := [line for line in lines if line.get("stage") == "end"]):
                await asyncio.sleep(0.001)
    (line,) = found
    assert (line["what"], line["subject"], line["user"]) == ("port-forward", "ns/web", FULL)
    assert (line["received_bytes"], line["sent_bytes"], line["ended"]) == (1000, 4, ended)


# Before the upgrade


@pytest.mark.parametrize("path", [PATH, f"{PATH}/u-1", f"{PATH}/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_protocol_is_chosen(serving: Serving, path: str, method: str) -> None:
    async with local_ports(p80=echo) as ports, serving(routes=routes.routes(ports.find)) as world:
        for protocols in (("portforward.k8s.io",), ("v9.portforward.k8s.io", "x, portforward.k8s.io")):
            async with asked(world, path, method=method, protocols=protocols) as answer:
                assert answer.status == 101
                assert answer.values("X-Stream-Protocol-Version") == ["portforward.k8s.io"]
                assert answer.values("Upgrade") == ["SPDY/3.1"]


async def test_what_is_refused_before(serving: Serving) -> None:
    async with local_ports(p80=echo) as ports, serving(routes=routes.routes(ports.find)) as world:
        async with asked(world, protocols=()) as answer:
            assert answer.status == 400
            assert "header X-Stream-Protocol-Version does not exist in request" in answer.body
        async with asked(world, protocols=(" , ",)) as answer:
            assert (answer.status, "no valid protocols" in answer.body) == (400, True)
        async with asked(world, protocols=("v4.channel.k8s.io",)) as answer:
            assert answer.status == 403
            assert answer.values("X-Accepted-Stream-Protocol-Versions") == ["portforward.k8s.io"]
            assert "unable to negotiate protocol" in answer.body
        for path in ("/portForward/ns/other", f"{PATH}/u-2"):
            async with asked(world, path) as answer:
                assert (answer.status, answer.body) == (404, "pod does not exist\n")
        headers = (f"Authorization: Bearer {NOTHING}", "Content-Length: 0")
        async with asked(world, extra=headers) as answer:
            assert answer.status == 403
        assert (await world.ask("POST", PATH, token=FULL)) == (400, "Upgrade request required\n")
        assert (await world.ask("DELETE", PATH, token=FULL))[0] == 405
