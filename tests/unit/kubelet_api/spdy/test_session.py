"""A session between real sockets: aiohttp's connection after 101, and a WebSocket that carries the same bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus, ResetStatus
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.kubelet_api.spdy.session import SpdySession
from kubelet_bridge.kubelet_api.spdy.stream import SpdyStream
from kubelet_bridge.kubelet_api.spdy.tunnel import LARGEST_MESSAGE, WebSocketWire
from kubelet_bridge.kubelet_api.spdy.upgrade import upgrade as accept_upgrade
from tests.support import spdystream
from tests.support.spdyclient import ClientStream, SpdyClient, WebSocketClientWire, upgrade

Handle = Callable[[SpdySession], Awaitable[None]]
HEADERS = {"streamtype": "data"}


@dataclass
class Endpoint:
    """An HTTP server whose one path is a SPDY session."""

    handle: Handle
    limits: Limits
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        how = "returned"
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            if request.headers.get("Upgrade") == "SPDY/3.1":
                response, wire = await accept_upgrade(request, "portforward.k8s.io")
                async with SpdySession(wire, self.limits) as session:
                    await self.handle(session)
                return response
            socket = web.WebSocketResponse(max_msg_size=LARGEST_MESSAGE)
            await socket.prepare(request)
            async with SpdySession(WebSocketWire(socket, request), self.limits) as session:
                await self.handle(session)
            await socket.close()
            return socket
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        finally:
            self.ended.put_nowait(how)

    @asynccontextmanager
    async def client(self, *, tunnel: bool = False) -> AsyncIterator[SpdyClient]:
        if tunnel:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"http://127.0.0.1:{self.port}/", max_msg_size=1 << 25) as socket,
                SpdyClient(WebSocketClientWire(socket)) as client,
            ):
                yield client
        else:
            async with upgrade(self.port, "/") as answer, SpdyClient(answer.wire) as client:
                assert answer.status == 101
                yield client


@asynccontextmanager
async def serving(handle: Handle, limits: Limits | None = None) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(handle, limits or Limits())
    app = web.Application()
    app.add_routes([web.route("*", "/", endpoint.serve)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.port = runner.addresses[0][1]
    try:
        yield endpoint
    finally:
        await runner.cleanup()
        await asyncio.wait(endpoint.tasks)


async def echo(session: SpdySession) -> None:
    """Send every stream's bytes back."""
    async with asyncio.TaskGroup() as group:
        while (stream := await session.accept()) is not None:
            group.create_task(echo_stream(stream))


async def echo_stream(stream: SpdyStream) -> None:
    with contextlib.suppress(StreamEnded):
        while data := await stream.read():
            await stream.write(data)
        await stream.close_write()


async def hold(session: SpdySession) -> None:
    """Accept streams and never read them."""
    while await session.accept() is not None:
        pass


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("extra", [(), ("Content-Length: 0",), ("Transfer-Encoding: chunked",)])
async def test_the_connection_is_taken_over_whatever_the_request(method: str, extra: tuple[str, ...]) -> None:
    async with serving(echo) as endpoint, upgrade(endpoint.port, "/", method=method, extra=extra) as answer:
        assert answer.status == 101
        assert answer.values("Connection") == ["Upgrade"]
        assert answer.values("Upgrade") == ["SPDY/3.1"]
        assert answer.values("X-Stream-Protocol-Version") == ["portforward.k8s.io"]
        async with SpdyClient(answer.wire) as client:
            stream = await client.open(HEADERS)
            await stream.write(b"over", fin=True)
            assert await stream.read_all() == b"over"
            assert stream.reset_by_server is None


@pytest.mark.parametrize("tunnel", [False, True])
async def test_streams_go_both_ways_at_once(tunnel: bool) -> None:
    payload = bytes(range(256)) * 4096

    async def through(client: SpdyClient) -> None:
        stream = await client.open(HEADERS)
        for start in range(0, len(payload), 50_000):
            await stream.write(payload[start : start + 50_000])
        await stream.close()
        assert await stream.read_all() == payload

    async with serving(echo) as endpoint:
        async with endpoint.client(tunnel=tunnel) as client, asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(through(client))
        assert await endpoint.ended.get()


@pytest.mark.parametrize("tunnel", [False, True])
async def test_pings_are_answered(tunnel: bool) -> None:
    async with serving(echo) as endpoint, endpoint.client(tunnel=tunnel) as client:
        assert [await client.ping(number) for number in (1, 3, 5)] == [1, 3, 5]


async def test_bytes_of_spdystream_one_at_a_time() -> None:
    seen: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def keep(session: SpdySession) -> None:
        while (stream := await session.accept()) is not None:
            seen.put_nowait((stream.headers, await stream.read()))

    async with serving(keep) as endpoint, upgrade(endpoint.port, "/") as answer:
        for at in range(len(spdystream.FORWARD)):
            await answer.wire.send(spdystream.FORWARD[at : at + 1])
            await asyncio.sleep(0)
        assert await seen.get() == ({"streamtype": "error", "port": "80", "requestid": "0"}, b"")
        assert (await seen.get())[0]["streamtype"] == "data"
        assert await endpoint.ended.get() == "returned"


async def test_a_stream_that_is_not_read_stops_the_client_and_not_before_its_limit() -> None:
    limits = Limits(stream_buffer=100_000, probe=60.0)
    streams: asyncio.Queue[SpdyStream] = asyncio.Queue()

    async def keep(session: SpdySession) -> None:
        while (stream := await session.accept()) is not None:
            streams.put_nowait(stream)

    async with serving(keep, limits) as endpoint, endpoint.client() as client:
        slow = await client.open(HEADERS)
        await slow.write(bytes(90_000))
        assert await client.ping(1) == 1
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await slow.write(bytes(65_536))
                sent += 65_536

        async with asyncio.TaskGroup() as group:
            task = group.create_task(flood())
            before = -1
            while sent != before or not sent:  # until neither socket nor buffers take any more
                before = sent
                await asyncio.sleep(0.2)
            served = await streams.get()
            assert served._held < 100_000 + 2 * 512 * 1024
            for _ in range(50):
                await served.read()
            assert sent > before
            task.cancel()


async def test_many_streams_together_have_a_limit_too() -> None:
    streams: list[SpdyStream] = []

    async def keep(session: SpdySession) -> None:
        while (stream := await session.accept()) is not None:
            streams.append(stream)

    async with serving(keep, Limits(buffer=100_000)) as endpoint, endpoint.client() as client:
        for _ in range(11):
            await (await client.open(HEADERS)).write(bytes(10_000))
        asking = asyncio.ensure_future(client.ping(1))  # noqa: TID251
        await asyncio.wait({asking}, timeout=0.3)
        assert not asking.done()
        for stream in streams[:5]:
            stream.reset()
        assert await asking == 1


async def test_the_client_is_found_gone_though_nothing_is_read() -> None:
    async with serving(hold, Limits(stream_buffer=10_000, probe=0.05)) as endpoint:
        async with endpoint.client() as client:
            stream = await client.open(HEADERS)
            await stream.write(bytes(1_000_000))
        assert await endpoint.ended.get() == "cancelled"


async def test_what_nobody_will_read_holds_up_nothing() -> None:
    async def discard(session: SpdySession) -> None:
        while (stream := await session.accept()) is not None:
            stream.discard()

    async with serving(discard, Limits(stream_buffer=10_000)) as endpoint, endpoint.client() as client:
        stream = await client.open(HEADERS)
        for _ in range(20):
            await stream.write(bytes(100_000))
        assert await client.ping(7) == 7


async def test_writing_to_a_stream_that_the_client_resets_ends() -> None:
    found: asyncio.Queue[str] = asyncio.Queue()

    async def write(session: SpdySession) -> None:
        stream = await session.accept()
        assert stream is not None
        with pytest.raises(StreamEnded) as ended:
            await stream.write(bytes(100_000_000))
        found.put_nowait(ended.value.message)
        await session.accept()

    async with serving(write) as endpoint, endpoint.client() as client:
        stream = await client.open(HEADERS)
        await stream.read()
        await stream.reset()
        assert "stream 1" in await found.get()
        assert await client.ping(1) == 1
        assert len(stream.inbox) < 90_000_000


async def test_many_streams_that_come_and_go_leave_nothing_behind() -> None:
    sessions: list[SpdySession] = []

    async def keep(session: SpdySession) -> None:
        sessions.append(session)
        await echo(session)

    async with serving(keep, Limits(streams=10)) as endpoint, endpoint.client() as client:
        for number in range(300):
            stream = await client.open(HEADERS)
            await stream.write(b"x" * number)
            if number % 3:
                await stream.close()
                await stream.read_all()
            else:
                await stream.reset()
        await client.ping(1)
        assert not sessions[0]._streams
        assert not sessions[0]._held
        assert sessions[0]._total == 0


async def test_streams_that_are_reset_before_they_are_accepted_are_not_kept() -> None:
    release = asyncio.Event()
    sessions: list[SpdySession] = []

    async def later(session: SpdySession) -> None:
        sessions.append(session)
        await release.wait()
        await echo(session)

    async with serving(later, Limits(streams=10)) as endpoint, endpoint.client() as client:
        for _ in range(100):
            stream = await client.open(HEADERS, wait=False)
            await stream.write(b"data")
            await stream.reset()
        await client.ping(1)
        assert not sessions[0]._arrived
        assert sessions[0]._total == 0
        release.set()
        last = await client.open(HEADERS)
        await last.write(b"still here", fin=True)
        assert await last.read_all() == b"still here"


async def test_a_stream_too_many_is_refused() -> None:
    async with serving(hold, Limits(streams=2)) as endpoint, endpoint.client() as client:
        for _ in range(2):
            await client.open(HEADERS)
        third = await client.open(HEADERS)
        assert third.reset_by_server is ResetStatus.REFUSED_STREAM
        assert await client.ping(1) == 1


@pytest.mark.parametrize("tunnel", [False, True])
async def test_a_protocol_error_ends_with_goaway(tunnel: bool) -> None:
    async with serving(echo) as endpoint, endpoint.client(tunnel=tunnel) as client:
        await client.open(HEADERS)
        await client.send(frames.data_head(0, 0))
        assert await client.goaway is GoAwayStatus.PROTOCOL_ERROR
        await client.ended.wait()
        assert await endpoint.ended.get() == "returned"


async def test_an_idle_connection_ends() -> None:
    async with serving(hold, Limits(idle=0.2)) as endpoint, endpoint.client() as client:
        await client.open(HEADERS)
        assert await client.goaway is GoAwayStatus.OK
        assert await endpoint.ended.get() == "returned"


async def test_who_leaves_resets_what_is_open_and_says_goaway_after_the_last_byte() -> None:
    async def answer(session: SpdySession) -> None:
        stream = await session.accept()
        assert stream is not None
        await stream.write(b"x" * 3_000_000)

    async with serving(answer) as endpoint, endpoint.client() as client:
        stream = await client.open(HEADERS)
        assert len(await stream.read_all()) == 3_000_000
        assert stream.reset_by_server is ResetStatus.CANCEL
        assert await client.goaway is GoAwayStatus.OK
        await client.ended.wait()


async def test_a_client_that_takes_nothing_is_cut_off_at_the_end() -> None:
    async def much(session: SpdySession) -> None:
        stream = await session.accept()
        assert stream is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await stream.write(bytes(50_000_000))

    async with serving(much, Limits(linger=0.1)) as endpoint, upgrade(endpoint.port, "/") as answer:
        await answer.wire.send(spdystream.SYN_ERROR)
        assert await endpoint.ended.get()


async def test_a_client_that_vanishes_cancels_the_handler() -> None:
    async with serving(hold) as endpoint:
        async with endpoint.client() as client:
            await client.open(HEADERS)
        assert await endpoint.ended.get() == "cancelled"


async def test_reading_and_writing_what_has_ended() -> None:
    found: asyncio.Queue[object] = asyncio.Queue()

    async def handle(session: SpdySession) -> None:
        stream = await session.accept()
        assert stream is not None
        for act in (stream.read, stream.read, lambda: stream.write(b"x")):
            try:
                found.put_nowait(await act())
            except StreamEnded as error:
                found.put_nowait(error.message)
        await stream.close_write()
        stream.reset()

    async with serving(handle) as endpoint, endpoint.client() as client:
        stream = await client.open(HEADERS)
        await stream.write(b"some")
        assert await found.get() == b"some"
        await stream.reset()
        reason = "stream 1 was reset by the client"
        assert (await found.get(), await found.get()) == (reason, reason)
        assert await client.goaway is GoAwayStatus.OK
        assert stream.reset_by_server is None


async def test_a_write_that_is_cancelled_leaves_whole_frames() -> None:
    async def handle(session: SpdySession) -> None:
        first, second = await session.accept(), await session.accept()
        assert first is not None
        assert second is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await first.write(bytes(50_000_000))
        await second.write(b"whole")
        await second.close_write()
        assert await second.read() == b""

    async with serving(handle) as endpoint, upgrade(endpoint.port, "/") as answer:
        await answer.wire.send(spdystream.SYN_ERROR + spdystream.SYN_DATA)
        await asyncio.sleep(0.4)  # what is not read meanwhile is more than all buffers hold
        async with SpdyClient(answer.wire) as client:
            first, second = (client.streams.setdefault(number, ClientStream(client, number)) for number in (1, 3))
            assert await second.read_all() == b"whole"
            await second.close()
            assert await client.goaway is GoAwayStatus.OK
            assert 0 < len(first.inbox) < 50_000_000
            assert first.reset_by_server is ResetStatus.CANCEL
