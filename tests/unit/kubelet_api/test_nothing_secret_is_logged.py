"""Commands and their input and output hold secrets: however an exec ends, no log line has any of them."""

import logging

import aiohttp
import pytest
from structlog.testing import capture_logs

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.model.access import User
from tests.support.channels import OUT, V4_64, V5, Served, opened, vanish
from tests.support.guests import soon
from tests.support.kubelet_endpoint import FULL, NOTHING, raw
from tests.support.workloads import ScriptedProcess, ScriptedWorkload

SECRET = "hunter2"
ENCODED = "aHVudGVyMg"
PATH = f"/exec/ns/pod/app?command=psql&command=--password={SECRET}&input=1&{OUT}"


async def talks(process: ScriptedProcess, command: list[str]) -> Ended:
    """Says what it is told, and that it went wrong."""
    assert SECRET in command[1]
    await process.say((await process.input.get() or b"") + SECRET.encode())
    return Ended(error=f"cannot run {SECRET}")


async def fails(process: ScriptedProcess, _command: list[str]) -> Ended:
    await process.say(SECRET.encode(), stderr=True)
    return Ended(error=f"cannot run {SECRET}")


async def exec_talks(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = talks
    async with served() as world, opened(world, PATH, V5) as client:
        await client.say(0, SECRET.encode())
        await client.all()


async def exec_refused_by_the_guest(served: Served, workload: ScriptedWorkload) -> None:
    workload.refuse = Transient(f"no way into {SECRET}", reason="NoAgent")
    async with served() as world, opened(world, PATH, V5) as client:
        await client.all()


async def exec_with_a_client_that_breaks_the_protocol(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world, opened(world, PATH, V4_64) as client:
        await client.socket.send_str(f"0{SECRET}!")


async def exec_without_the_right(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world:
        for token in (NOTHING, f"nobody-{SECRET}"):
            assert (await world.ask("POST", PATH, token=token))[0] in (401, 403)


async def exec_with_a_client_that_goes(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world, opened(world, PATH, V5) as client:
        await soon(lambda: workload.running == 1, "it runs")
        vanish(client)
        await soon(lambda: workload.running == 0, "it has ended")


async def exec_with_a_token_among_the_subprotocols(served: Served, workload: ScriptedWorkload) -> None:
    """Which a browser names in one header, and others in two."""
    for more in ("\r\nSec-WebSocket-Protocol: v4.channel.k8s.io", ", v4.channel.k8s.io", ", x"):
        async with served(token=knows_the_secret) as world, raw(world) as (reader, writer):
            head = (
                f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{ENCODED}{more}\r\n\r\n"
            )
            writer.write(head.encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            if more == ", x":
                answer += (await reader.readuntil(b"\n")).decode()
            assert answer.startswith("HTTP/1.1 403 " if more == ", x" else "HTTP/1.1 101 ")
            assert ("[x]" if more == ", x" else "\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n") in answer
            assert ENCODED not in answer


async def knows_the_secret(token: str) -> User | None:
    return User(name=FULL) if token == SECRET else None


async def run_of_a_command(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = fails
    async with served() as world:
        await world.ask("POST", f"/run/ns/pod/app?cmd=psql%20--password={SECRET}", token=FULL)


async def a_head_that_cannot_be_parsed(served: Served, workload: ScriptedWorkload) -> None:
    async with served() as world, world.client() as session:
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            async with session.get(world.url(PATH), headers={"X-Long": SECRET * 10_000}) as response:
                assert response.status == 200


@pytest.mark.parametrize(
    "act",
    [
        exec_talks, exec_refused_by_the_guest, exec_with_a_client_that_breaks_the_protocol, exec_without_the_right,
        exec_with_a_client_that_goes, exec_with_a_token_among_the_subprotocols, run_of_a_command,
        a_head_that_cannot_be_parsed,
    ],
)  # fmt: skip
async def test_it_stays_with_those_who_said_it(
    served: Served, workload: ScriptedWorkload, caplog: pytest.LogCaptureFixture, act: object
) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        await act(served, workload)  # type: ignore[operator]
    assert SECRET not in repr(lines)
    assert SECRET not in caplog.text
    assert ENCODED not in repr(lines) + caplog.text
    assert lines or act is a_head_that_cannot_be_parsed
