"""Clients of exec and attach that go away, say nothing, say too much or nonsense, or come by the hundred."""

import asyncio
import base64
import contextlib
import os
import ssl
from pathlib import Path

import aiohttp
import pytest

from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from tests.support.channels import HEADERS, OUT, V5, Client, Served, opened, vanish
from tests.support.guests import running, soon
from tests.support.kubelet_endpoint import FULL, World, raw
from tests.support.workloads import ScriptedProcess, ScriptedWorkload, exits, sleeps


@pytest.mark.parametrize("how", ["close", "vanish"])
async def test_a_client_that_goes_away_ends_the_process(served: Served, workload: ScriptedWorkload, how: str) -> None:
    workload.script = sleeps
    async with served() as world:
        async with opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client:
            assert await client.hear() == (1, b"")
            await soon(lambda: workload.running == 1, "a process")
            if how == "vanish":
                vanish(client)
        await soon(lambda: workload.running == 0, "the process has ended")


async def test_a_client_that_reads_nothing_holds_up_only_its_process(
    served: Served, workload: ScriptedWorkload
) -> None:
    said = 0

    async def floods(process: ScriptedProcess, _command: list[str]) -> Ended:
        nonlocal said
        while True:
            await process.say(b"x" * 32768)
            said += 1

    workload.script = floods
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=yes&{OUT}"):
        before = -1
        while said != before:  # until all that lies between is full
            before = said
            await asyncio.sleep(0.3)
        assert said * 32768 < 64_000_000
        assert await world.get("/healthz", token=FULL) == (200, "ok")
    await soon(lambda: workload.running == 0, "the process has ended")


async def test_a_process_that_takes_nothing_holds_up_only_its_client(
    served: Served, workload: ScriptedWorkload
) -> None:
    workload.script = sleeps
    sent = 0

    async def send(client: Client) -> None:
        nonlocal sent
        while True:
            await client.say(0, b"x" * 65536)
            sent += 1

    async with served(Times(heartbeat=0.05)) as world:
        async with opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client, running(send(client)):
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.3)
            assert sent * 65536 < 64_000_000
            assert await world.get("/healthz", token=FULL) == (200, "ok")
            vanish(client)  # which only somebody who writes can notice: nothing is read of it
        await soon(lambda: workload.running == 0, "the process has ended")


async def test_pings_are_answered_and_sent(served: Served) -> None:
    async with (
        served(Times(heartbeat=0.05)) as world,
        opened(world, "/exec/ns/pod/app?command=a&input=1&output=1", autoping=False) as client,
    ):
        await client.socket.ping(b"are you there")
        seen: list[tuple[aiohttp.WSMsgType, bytes]] = []
        while len({kind for kind, _ in seen} & {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}) < 2:
            message = await client.socket.receive()
            seen.append((message.type, bytes(message.data)))
        assert (aiohttp.WSMsgType.PONG, b"are you there") in seen
        await client.say(0, b"and still it works")
        while (await client.socket.receive()).data != b"\x01and still it works":
            pass


async def test_a_client_that_cannot_get_an_answer_gets_a_pong_all_the_same(
    served: Served, workload: ScriptedWorkload
) -> None:
    workload.script = sleeps
    async with (
        served(Times(heartbeat=0.05)) as world,
        opened(world, "/exec/ns/pod/app?command=a&input=1&output=1", autoping=False) as client,
    ):
        for _ in range(10):
            await client.say(0, b"x")
        while (await client.socket.receive()).type is not aiohttp.WSMsgType.PONG:
            pass
        vanish(client)  # its close would wait behind the input


async def test_a_session_without_a_byte_is_ended(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = sleeps
    async with (
        served(Times(idle=0.3, heartbeat=0.05)) as world,
        opened(world, f"/exec/ns/pod/app?command=a&{OUT}") as client,
    ):
        told = await client.all()
    assert "nothing was sent or received for 0.3 seconds" in told.status["message"]
    assert (told.close, workload.running) == (1000, 0)


async def test_a_client_that_reads_nothing_is_idle_one_day(served: Served, workload: ScriptedWorkload) -> None:
    async def floods(process: ScriptedProcess, _command: list[str]) -> Ended:
        while True:
            await process.say(b"x" * 32768)

    workload.script = floods
    async with served(Times(idle=0.5, closing=0.2)) as world:
        async with opened(world, f"/exec/ns/pod/app?command=yes&{OUT}") as client:
            await soon(lambda: bool(workload.processes) and workload.running == 0, "the process has ended")
            await world.connections(1)
            while await client.hear() is not None:  # all that was on its way, and then it is over
                pass
        await world.connections(0)


@pytest.mark.parametrize("garbage", [b"\xff", b"\xff\x07", b"\xff\x00\x00"])
async def test_a_close_that_makes_no_sense_ends_it(served: Served, workload: ScriptedWorkload, garbage: bytes) -> None:
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client:
        await client.socket.send_bytes(garbage)
        assert (await client.all()).close == 1002
    await soon(lambda: workload.running == 0, "the process has ended")


async def test_garbage_on_other_channels_means_nothing(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client:
        await client.socket.send_bytes(b"")
        for channel in (1, 2, 3, 5, 200, 254):
            await client.say(channel, os.urandom(100))
        for _ in range(5000):
            await client.say(4, b'{"Width":80,"Height":24}')
        await client.say(4, b"}{")
        await client.socket.send_str("\x00text is bytes, too")
        await client.end_input()
        told = await client.all()
    assert told.out == b"text is bytes, too"


async def test_others_have_their_turn_while_tiny_messages_come(served: Served, workload: ScriptedWorkload) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    messages = 40_000
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client:
        assert await client.hear() == (1, b"")
        transport = client.socket._conn.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(b"\x82\x82\x00\x00\x00\x00\x09x" * messages)
        async with running(others()):
            await client.say(0, b"the last")
            assert await client.hear() == (1, b"the last")
    assert turns > messages // 100


async def test_a_giant_message_ends_it(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&input=1&{OUT}") as client:
        await client.say(0, b"x" * (33 * 1024 * 1024))
        told = await client.all()
    assert told.close in (1006, 1009)  # the rest of the message may meet a closed connection
    assert (told.out, told.error) == (b"", b"")
    await soon(lambda: workload.running == 0, "the process has ended")


async def test_many_execs_leave_nothing_behind(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = exits

    async def one(world: World, session: aiohttp.ClientSession) -> None:
        url = world.url(f"/exec/ns/pod/app?command=7&{OUT}")
        async with session.ws_connect(url, protocols=(V5,), headers=HEADERS) as socket:
            told = await Client(socket, V5).all()
        assert (told.out, told.status["reason"], told.close) == (b"out", "NonZeroExitCode", 1000)

    async with served() as world, world.client() as session:
        await one(world, session)
        tasks, files = len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(1000):
            await one(world, session)
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(one(world, session))
        assert workload.running == 0
        assert len(workload.processes) == 1101
        await soon(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
        await soon(lambda: len(list(Path("/proc/self/fd").iterdir())) <= files, "no file is left open")


HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(b'k' * 16).decode()}\r\nSec-WebSocket-Protocol: {V5}\r\n"
)


@pytest.mark.parametrize(
    "frames",
    [
        b"\x83\x80\x00\x00\x00\x00",  # an opcode that there is not
        b"\xf2\x82\x00\x00\x00\x00\x00x",  # bits of extensions that were not agreed
        b"\x82\xff" + b"\xff" * 8,  # longer than anything
        b"\x82\xff" + b"\x00\x00\x00\x00\x7f\xff\xff\xff" + b"\x00" * 100,  # two gigabytes, it says
        b"\x09\x80\x00\x00\x00\x00",  # a ping in pieces
        b"\x89\xfe\x00\x7e" + b"\x00" * 130,  # a ping too long
        b"\x80\x82\x00\x00\x00\x00\x00x",  # a continuation of nothing
        b"\x88\x81\x00\x00\x00\x00x",  # a close with half a code
        b"\x88\x84\x00\x00\x00\x00\x03\xe8\xff\xfe",  # a close whose reason is no text
        b"\x82\x04\x00abc",  # not masked
        b"\x01\x82\x00\x00\x00\x00\x00x" * 3,  # new messages inside one
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n" * 10,
        bytes(range(256)) * 8,
        b"",
    ],
)
async def test_frames_that_are_none_end_it_without_an_error_of_ours(
    served: Served, workload: ScriptedWorkload, frames: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    workload.script = sleeps
    async with served() as world:
        async with raw(world) as (reader, writer):
            head = f"GET /exec/ns/pod/app?command=a&input=1&{OUT} HTTP/1.1\r\nHost: node\r\n{HANDSHAKE}"
            writer.write(f"{head}Authorization: Bearer {FULL}\r\n\r\n".encode())
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            await soon(lambda: workload.running == 1, "a process")
            writer.write(frames)
            writer.write(b"\x82\x83\x00\x00\x00\x00\xff\x00\x00")  # and were they any, this ends it
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.drain()
            if b"\x7f\xff\xff\xff" in frames:
                writer.transport.abort()  # the rest is awaited for as long as it may take
            await soon(lambda: workload.running == 0, "the process has ended")
        assert await world.get("/healthz", token=FULL) == (200, "ok")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
