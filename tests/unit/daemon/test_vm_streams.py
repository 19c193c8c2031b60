"""Console and screen over a WebSocket, to the bytes of what is dialled."""

import asyncio
import base64
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from kubelet_bridge.daemon.vmreader import StoredVms
from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.vms.routes import routes
from tests.support.kubelet_endpoint import FULL, STATS, Serving, World
from tests.support.vms import Line, View, fill, guest_of, unreachable

BOTH = pytest.mark.parametrize("what", ["console", "vnc"])


@pytest.fixture
async def reader(tmp_path: Path) -> StoredVms:
    await fill(tmp_path)
    return StoredVms(tmp_path, View(), guest_of)  # type: ignore[arg-type]


def opened(
    session: aiohttp.ClientSession, world: World, path: str, *protocols: str, token: str = FULL
) -> aiohttp.client._WSRequestContextManager:
    return session.ws_connect(world.url(path), protocols=protocols, headers={"Authorization": f"Bearer {token}"})


@BOTH
@pytest.mark.parametrize("protocols", [(), ("plain.kubevirt.io",), ("something.else", "plain.kubevirt.io")])
async def test_bytes_go_both_ways(serving: Serving, reader: StoredVms, what: str, protocols: tuple[str, ...]) -> None:
    line = Line()
    declared = routes(reader, console=line.dial, screen=line.dial)
    with capture_logs() as lines:
        async with serving(only=declared) as world, world.client() as session:
            async with opened(session, world, f"/vms/by-name/default/web-1/{what}", *protocols) as socket:
                assert socket.protocol == ("plain.kubevirt.io" if protocols else None)
                line.said.put_nowait(b"login: ")
                assert await socket.receive_bytes() == b"login: "
                await socket.send_str("means nothing")
                await socket.send_bytes(b"\x00root\n")
                await socket.ping()
                while bytes(line.heard) != b"\x00root\n":
                    await asyncio.sleep(0.001)
            await line.left.wait()
    begin, end = (one for one in lines if one["event"] == "audit")
    assert (begin["what"], begin["subject"], begin["user"]) == (what, "default/web-1", FULL)
    assert (end["ended"], end["sent_bytes"], end["received_bytes"]) == ("ok", 7, 6)
    assert "root" not in repr(lines)


@BOTH
async def test_the_end_of_the_line_ends_the_socket(serving: Serving, reader: StoredVms, what: str) -> None:
    line = Line()
    async with (
        serving(only=routes(reader, console=line.dial, screen=line.dial)) as world,
        world.client() as session,
        opened(session, world, f"/vms/uid-1/{what}") as socket,
    ):
        line.said.put_nowait(b"bye")
        line.said.put_nowait(b"")
        assert await socket.receive_bytes() == b"bye"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000


@BOTH
@pytest.mark.parametrize(
    ("words", "told"), [("the VM has gone", "the VM has gone"), ("x" + "é" * 90, "x" + "é" * 49), ("\udcff", "?")]
)
async def test_a_line_that_breaks_says_so(
    serving: Serving, reader: StoredVms, what: str, words: str, told: str
) -> None:
    line = Line()
    async with (
        serving(only=routes(reader, console=line.dial, screen=line.dial)) as world,
        world.client() as session,
        opened(session, world, f"/vms/uid-1/{what}") as socket,
    ):
        line.said.put_nowait(Transient(words, reason="Gone"))
        message = await socket.receive()
        assert (socket.close_code, message.extra) == (1011, told)


@BOTH
async def test_a_line_that_takes_no_more_holds_the_client_up(serving: Serving, reader: StoredVms, what: str) -> None:
    """Nothing is collected for it without bound; and what the other way brings still comes."""
    line = Line()
    line.stuck = asyncio.Event()
    async with (
        serving(only=routes(reader, console=line.dial, screen=line.dial)) as world,
        world.client() as session,
        opened(session, world, f"/vms/uid-1/{what}") as socket,
    ):
        transport = socket._conn.transport  # type: ignore[union-attr]
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await socket.send_bytes(bytes(65536))
                sent += 65536

        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood())
            while transport.get_write_buffer_size() == 0 or sent == 0:
                await asyncio.sleep(0.001)
            line.said.put_nowait(b"still here")
            assert await socket.receive_bytes() == b"still here"
            flooding.cancel()
        assert len(line.heard) == 0
        line.stuck.set()
        while len(line.heard) < sent:
            await asyncio.sleep(0.001)


@BOTH
async def test_what_is_refused_is_refused_before_the_upgrade(serving: Serving, reader: StoredVms, what: str) -> None:
    line = Line()
    async with (
        serving(only=routes(reader, console=unreachable, screen=unreachable)) as world,
        world.client() as session,
    ):
        for path, token, status in (
            ("/vms/uid-1", FULL, 503), ("/vms/uid-2", FULL, 404), ("/vms/uid-3", FULL, 404), ("/vms/none", FULL, 404),
            ("/vms/uid-1", STATS, 403), ("/vms/uid-1", "invented", 401),
        ):  # fmt: skip
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await opened(session, world, f"{path}/{what}", token=token)
            assert refused.value.status == status
        assert await world.get(f"/vms/uid-1/{what}", token=FULL) == (400, "Upgrade request required\n")
    assert not line.left.is_set()


@BOTH
async def test_a_browser_brings_its_token_as_a_subprotocol(serving: Serving, reader: StoredVms, what: str) -> None:
    line = Line()

    def offered(token: str) -> tuple[str, str]:
        encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        return f"base64url.bearer.authorization.k8s.io.{encoded}", "plain.kubevirt.io"

    async with serving(only=routes(reader, console=line.dial, screen=line.dial)) as world, world.client() as session:
        async with session.ws_connect(world.url(f"/vms/uid-1/{what}"), protocols=offered(FULL)) as socket:
            assert socket.protocol == "plain.kubevirt.io"
        for token, status in ((STATS, 403), ("invented", 401)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(world.url(f"/vms/uid-1/{what}"), protocols=offered(token))
            assert refused.value.status == status
        headers = {"Sec-WebSocket-Protocol": ",".join(offered(FULL))}
        async with session.get(world.url("/vms"), headers=headers) as response:
            assert response.status == 401


@BOTH
async def test_a_token_beside_a_subprotocol_that_is_not_known_is_not_logged(
    serving: Serving, reader: StoredVms, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    line, token = Line(), f"base64url.bearer.authorization.k8s.io.{base64.urlsafe_b64encode(FULL.encode()).decode()}"
    async with (
        serving(only=routes(reader, console=line.dial, screen=line.dial)) as world,
        world.client() as session,
        session.ws_connect(world.url(f"/vms/uid-1/{what}"), protocols=(token, "binary")) as socket,
    ):
        assert socket.protocol is None
    assert token not in caplog.text


@BOTH
async def test_a_client_that_goes_lets_the_line_go(serving: Serving, reader: StoredVms, what: str) -> None:
    line = Line()
    async with serving(only=routes(reader, console=line.dial, screen=line.dial)) as world, world.client() as session:
        socket = await opened(session, world, f"/vms/uid-1/{what}")
        connection = socket._conn
        assert connection is not None
        connection.transport.abort()
        await line.left.wait()
