"""exec over the kubelet API to the agent as guests get it: real processes, a real terminal."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.kubelet_api.remotecommand import routes, run
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from kubelet_bridge.settings import cache_root
from tests.support.channels import OUT, V4, V4_64, V5, Client, opened
from tests.support.guests import soon
from tests.support.kubelet_endpoint import FULL, Serving, World
from tests.support.realagent import AgentWorkload, connected_agent


@pytest.fixture
async def world(serving: Serving, tmp_path: Path) -> AsyncIterator[World]:
    guest = tmp_path / "guest"
    guest.mkdir()
    async with connected_agent(guest, cache_root()) as session:
        workload = AgentWorkload(session)
        made = [*routes.routes(workload.find, Times()), *run.routes(workload.find)]
        async with serving(routes=made) as world:
            yield world


def command(*words: str, more: str = OUT) -> str:
    return "/exec/ns/pod/app?" + "&".join([*(f"command={word}" for word in words), more])


async def until(client: Client, sought: bytes) -> bytes:
    """What is said up to ``sought``."""
    seen = b""
    while sought not in seen:
        heard = await client.hear()
        assert heard is not None, seen
        seen += heard[1]
    return seen


@pytest.mark.parametrize("protocol", [V5, V4, V4_64])
async def test_exit_codes_outputs_and_signals(world: World, protocol: str) -> None:
    for code in (0, 7, 255):
        async with opened(world, command("sh", "-c", f"echo out; echo err >%262; exit {code}"), protocol) as client:
            told = await client.all()
        assert (told.out, told.err) == (b"out\n", b"err\n")
        causes = told.status.get("details", {}).get("causes", [])
        assert causes == ([{"reason": "ExitCode", "message": str(code)}] if code else [])
    async with opened(world, command("sh", "-c", "kill -9 $$"), protocol) as client:
        assert (await client.all()).status["details"]["causes"][0]["message"] == "137"
    async with opened(world, command("no-such-command"), protocol) as client:
        status = (await client.all()).status
    assert status["message"].startswith("Internal error occurred: error executing command in container: ")
    assert "no-such-command" in status["message"]


async def test_binary_input_comes_back_and_its_end_is_passed_on(world: World) -> None:
    sent = os.urandom(8_000_000)
    async with opened(world, command("sh", "-c", "cat; echo the end >%262", more=f"input=1&{OUT}")) as client:
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(client.all())
            for start in range(0, len(sent), 100_000):
                await client.say(0, sent[start : start + 100_000])
            await client.end_input()
        told = hearing.result()
    assert hashlib.sha256(told.out).digest() == hashlib.sha256(sent).digest()
    assert (told.err, told.status["status"]) == (b"the end\n", "Success")


async def test_a_terminal_and_its_size(world: World) -> None:
    async with opened(world, command("sh", more="input=1&tty=1&output=1&error=1")) as client:
        await client.say(4, json.dumps({"Width": 91, "Height": 37}).encode())
        await client.say(0, b"until [ \"$(stty size)\" = '37 91' ]; do sleep 0.05; done; echo got-$((1+1))\n")
        await until(client, b"got-2")
        await client.say(4, json.dumps({"Width": 120, "Height": 50}).encode())
        await client.say(0, b"until [ \"$(stty size)\" = '50 120' ]; do sleep 0.05; done; exit 3\n")
        told = await client.all()
    assert told.err == b""
    assert told.status["details"]["causes"][0]["message"] == "3"


@pytest.mark.parametrize("tty", ["", "&tty=1"])
async def test_a_client_that_goes_away_ends_the_process(world: World, tmp_path: Path, tty: str) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000"
    async with opened(world, command("sh", "-c", script, more=f"input=1&output=1{tty}")):
        await soon(pid.exists, "the process runs")
        process = Path("/proc") / pid.read_text().strip()
        assert process.exists()
    await soon(lambda: not process.exists(), "the process has ended")


async def test_output_waits_for_who_reads_it_and_is_whole(world: World) -> None:
    size = 30_000_000
    async with opened(world, command("sh", "-c", f"head -c {size} /dev/zero")) as client:
        await asyncio.sleep(0.5)
        told = await client.all()
    assert (len(told.out), told.status["status"]) == (size, "Success")


async def test_run_gives_both_outputs(world: World) -> None:
    assert await world.ask("POST", "/run/ns/pod/app?cmd=echo%20a%20%20b", token=FULL) == (200, "a  b\n")
    status, text = await world.ask("POST", "/run/ns/pod/app?cmd=ls%20/no/such/path", token=FULL)
    assert (status, "/no/such/path" in text) == (500, True)


async def test_a_hundred_at_once(world: World) -> None:
    async def one(number: int) -> None:
        async with opened(world, command("sh", "-c", f"echo {number}; exit {number}")) as client:
            told = await client.all()
        assert told.out == b"%d\n" % number
        assert told.status.get("details", {}).get("causes", [{}])[0].get("message", "0") == str(number)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))
