"""exec and attach over WebSockets: a real server, a real client, every subprotocol."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.ports import Ended
from tests.support.channels import ALL, OUT, STATUS, V4, Served, opened
from tests.support.guests import soon
from tests.support.workloads import ScriptedProcess, ScriptedWorkload, exits, sleeps


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("code", [0, 7, 255])
async def test_a_command_runs_and_its_end_is_told(
    served: Served, workload: ScriptedWorkload, protocol: str, code: int
) -> None:
    workload.script = exits
    async with (
        served() as world,
        opened(world, f"/exec/ns/pod/app?command=a&command={code}&{OUT}", protocol) as client,
    ):
        assert await client.hear() == (1, b"")
        told = await client.all()
    assert (told.out, told.err, told.close) == (b"out", b"err", 1000)
    if protocol not in STATUS:
        assert bool(told.error) == bool(code)
        return
    assert told.status["status"] == ("Failure" if code else "Success")
    if code:
        assert told.status["details"]["causes"] == [{"reason": "ExitCode", "message": str(code)}]
    assert workload.asked == [("exec", ["a", str(code)], False, False)]


@pytest.mark.parametrize(("query", "channel"), [("output=1&input=1", 1), ("error=1", 2), ("input=1", 3)])
async def test_the_lowest_channel_says_that_all_is_ready(served: Served, query: str, channel: int) -> None:
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&{query}") as client:
        assert await client.hear() == (channel, b"")


async def test_what_was_not_asked_for_is_not_sent(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = exits
    async with served() as world, opened(world, "/exec/ns/pod/app?command=0&error=1") as client:
        told = await client.all()
    assert (told.out, told.err) == (b"", b"err")


@pytest.mark.parametrize("protocol", ALL)
async def test_megabytes_of_input_come_back_the_same(served: Served, workload: ScriptedWorkload, protocol: str) -> None:
    sent = os.urandom(6_000_000)

    async def counted(process: ScriptedProcess, _command: list[str]) -> Ended:
        left = len(sent)  # before version 5 a client cannot say that its input has ended
        while left and (data := await process.input.get()) is not None:
            left -= len(data)
            await process.say(data)
        return Ended()

    workload.script = counted
    async with (
        served() as world,
        opened(world, f"/exec/ns/pod/app?command=cat&input=1&{OUT}", protocol) as client,
        asyncio.TaskGroup() as group,
    ):
        hearing = group.create_task(client.all())
        for start in range(0, len(sent), 700_000):
            await client.say(0, sent[start : start + 700_000])
        told = await hearing
    assert hashlib.sha256(told.out).digest() == hashlib.sha256(sent).digest()
    assert told.close == 1000


async def test_input_can_end_while_output_goes_on(served: Served, workload: ScriptedWorkload) -> None:
    async def reverse(process: ScriptedProcess, _command: list[str]) -> Ended:
        taken = [data async for data in _until_end(process)]
        await process.say(b"".join(taken)[::-1])
        return Ended(3)

    workload.script = reverse
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=rev&input=1&{OUT}") as client:
        await client.say(0, b"abc")
        await client.say(0, b"")
        await client.say(0, b"def")
        await client.end_input()
        await client.end_input()
        await client.say(0, b"too late")
        told = await client.all()
    assert told.out == b"fedcba"
    assert told.status["details"]["causes"][0]["message"] == "3"


async def _until_end(process: ScriptedProcess) -> AsyncIterator[bytes]:
    while (data := await process.input.get()) is not None:
        yield data


async def test_a_terminal_has_one_output_and_sizes(served: Served, workload: ScriptedWorkload) -> None:
    async def shell(process: ScriptedProcess, _command: list[str]) -> Ended:
        await process.say(b"$ ")
        await process.say(b"oops ", stderr=True)
        assert await process.input.get() == b"exit\r"
        return Ended()

    workload.script = shell
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=sh&input=1&tty=1&{OUT}") as client:
        await client.say(4, b'{"Width":80,"Hei')
        await client.say(4, b'ght":24}{"Width":1')
        await client.say(4, b'00,"Height":50}')
        await client.say(9, b"no such channel")
        await client.say(0, b"exit\r")
        told = await client.all()
    assert (told.out, told.err) == (b"$ oops ", b"")
    assert workload.processes[0].sizes == [(80, 24), (100, 50)]
    assert workload.asked[0][2:] == (True, True)


async def test_attach_goes_by_the_container(served: Served, workload: ScriptedWorkload) -> None:
    workload.script, workload.tty = exits_with_7, True
    async with served() as world, opened(world, "/attach/ns/pod/uid/app?output=1&input=1") as client:
        told = await client.all()
    assert told.out == b"outerr"
    assert told.status["status"] == "Success"
    assert workload.asked == [("attach", [], True, True)]


async def exits_with_7(process: ScriptedProcess, _command: list[str]) -> Ended:
    return await exits(process, ["7"])


@pytest.mark.parametrize(("verb", "words"), [("exec", "executing command in"), ("attach", "attaching to")])
async def test_what_cannot_be_done_is_said_in_the_status(
    served: Served, workload: ScriptedWorkload, verb: str, words: str
) -> None:
    workload.refuse = Transient("there is no way in")
    async with served() as world, opened(world, f"/{verb}/ns/pod/app?command=a&{OUT}", V4) as client:
        told = await client.all()
    assert told.status["reason"] == "InternalError"
    assert told.status["message"] == f"Internal error occurred: error {words} container: there is no way in"


async def test_a_guest_that_goes_away_is_said_in_the_status(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = sleeps
    async with served() as world, opened(world, f"/exec/ns/pod/app?command=a&{OUT}") as client:
        assert await client.hear() == (1, b"")
        await soon(lambda: bool(workload.processes), "a process")
        workload.processes[0].lose()
        told = await client.all()
    assert told.status["message"].endswith("the guest is gone")
