"""What one client of the kubelet API may cost, and how long things take to end."""

import asyncio
import contextlib
import socket
import ssl

import aiohttp
import pytest

from kubelet_bridge.kubelet_api.connections import Limits
from tests.support.kubelet_endpoint import FULL, Serving, raw


async def test_a_path_of_nothing_but_slashes_holds_nobody_up(serving: Serving) -> None:
    """Routed, this one takes ten seconds, in which nothing else happens in the process."""
    async with serving() as world:
        for path in ("/" * 250_000, "/a" + "/../a" * 50_000, f"/logs{'/a' * 65}"):
            async with raw(world) as (reader, writer), asyncio.timeout(5):
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 414 "), answer[:100]
        assert (await world.get(f"/logs{'/a' * 60}", token=FULL))[0] == 405
        assert (await world.get("/healthz", token=FULL)) == (200, "ok")


async def test_old_tls_is_refused(serving: Serving) -> None:
    async with serving() as world:
        context = world.authority.client_context()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", world.port, ssl=context)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_handshake_that_never_ends_is_cut_off(serving: Serving, sent: bytes) -> None:
    async with serving(Limits(handshake=0.1)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        assert await world.get("/healthz", token=FULL) == (200, "ok")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_says_nothing_is_cut_off(serving: Serving, sent: bytes) -> None:
    async with serving(Limits(first_request=0.1)) as world, raw(world) as (reader, writer):
        writer.write(sent)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await reader.read() == b""


async def test_a_later_request_may_not_come_by_drops(serving: Serving) -> None:
    """Beginning a request does not stop the clock that ends idle connections."""
    async with serving(Limits(idle=0.3)) as world, raw(world) as (reader, writer):
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FULL}\r\n\r\n".encode())
        assert b" 200 " in await reader.readline()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while not reader.at_eof():
                writer.write(b"G")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await reader.read(65536)


@pytest.mark.parametrize("path", ["/test/large", "/test/flood"])
async def test_a_client_that_never_reads_is_cut_off(serving: Serving, path: str) -> None:
    """A whole answer and a stream: neither is kept for it for ever."""
    async with serving(Limits(idle=0.2, stalled=0.2, handshake=1.0)) as world, raw(world) as (_, writer):
        writer.transport.pause_reading()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FULL}\r\n\r\n".encode())
        await world.ended.wait()
        await world.connections(0)
        assert await world.get("/healthz", token=FULL) == (200, "ok")


async def test_a_body_that_never_ends_does_not_hold_up_the_answer(serving: Serving) -> None:
    async with serving() as world, raw(world) as (reader, writer):
        head = f"POST /exec/ns/pod/c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FULL}\r\nContent-Length: 1000000\r\n"
        writer.write(head.encode() + b"\r\nx")
        assert b" 501 " in await reader.readline()


async def test_a_large_body_is_refused_where_one_is_read(serving: Serving) -> None:
    async with serving(Limits(body=1000)) as world, world.client() as session:
        headers = {"Authorization": f"Bearer {FULL}"}
        async with session.post(world.url("/test/body"), data=b"x" * 1001, headers=headers) as response:
            assert (response.status, await response.text()) == (413, "Maximum request body size 1000 exceeded.\n")
        async with session.post(world.url("/test/body"), data=b"x" * 1000, headers=headers) as response:
            assert (response.status, await response.text()) == (200, "1000")


async def test_one_peer_may_not_take_all_connections(serving: Serving) -> None:
    async with serving(Limits(per_peer=3)) as world:
        held = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(3)]
        await world.connections(3)
        with pytest.raises(aiohttp.ClientError):
            await world.get("/healthz", token=FULL)
        for one in held:
            one.close()
        await world.connections(0)
        assert await world.get("/healthz", token=FULL) == (200, "ok")


async def test_closed_connections_make_room(serving: Serving) -> None:
    async with serving(Limits(per_peer=2)) as world:
        for _ in range(10):
            assert await world.get("/healthz", token=FULL) == (200, "ok")


async def test_large_heads_are_refused_and_long_commands_are_not(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as world:
        command = "&".join(["command=" + "x" * 1000] * 100)
        assert (await world.ask("POST", f"/exec/ns/pod/c?{command}", token=FULL))[0] == 501
        assert (await world.get("/healthz", token="x" * 40_000))[0] == 400
        async with raw(world) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n")
            assert b" 400 " in await reader.readline()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_handler_ends_when_its_client_goes_away(serving: Serving) -> None:
    async with serving() as world:
        async with world.client() as session, asyncio.TaskGroup() as group:
            headers = {"Authorization": f"Bearer {FULL}"}
            task = group.create_task(session.get(world.url("/test/slow"), headers=headers).__aenter__())
            await world.started.wait()
            task.cancel()
        await world.ended.wait()
    assert ("/test/slow", "GET", 499) in world.seen


async def test_stopping_waits_for_what_is_being_served_and_then_cuts_it_off(serving: Serving) -> None:
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(serving())
        session = await stack.enter_async_context(world.client())
        async with asyncio.TaskGroup() as group:
            headers = {"Authorization": f"Bearer {FULL}"}

            async def held() -> None:
                with pytest.raises(aiohttp.ClientError):
                    async with session.get(world.url("/test/slow"), headers=headers):
                        pass

            group.create_task(held())
            await world.started.wait()
            assert world.server is not None
            await world.server.stop()
        assert world.ended.is_set()


async def test_a_new_serving_certificate_is_used_by_new_connections_and_old_ones_stay(serving: Serving) -> None:
    async with serving() as world, raw(world) as (reader, writer):
        before = writer.get_extra_info("peercert")["serialNumber"]
        world.authority.serving(world.directory)
        serial = before
        while serial == before:
            await asyncio.sleep(0.01)
            async with raw(world) as (_, other):
                serial = other.get_extra_info("peercert")["serialNumber"]
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FULL}\r\n\r\n".encode())
        assert b" 200 " in await reader.readline()
