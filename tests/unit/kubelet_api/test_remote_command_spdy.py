"""exec and attach over SPDY, to a client as client-go has it."""

import asyncio
import hashlib
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus
from tests.support.channels import HEADERS, OUT, Served
from tests.support.guests import running, soon
from tests.support.kubelet_endpoint import FULL, World
from tests.support.spdyclient import ClientStream, SpdyClient, upgrade
from tests.support.workloads import ScriptedProcess, ScriptedWorkload, exits, sleeps

V5, V4, V3, V2, V1 = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io",
)  # fmt: skip
EXTRA = (f"Authorization: Bearer {FULL}", "Content-Length: 0")


@dataclass
class Remote:
    """A client-go executor: opens the streams in its order, then waits for stdout and stderr, then for the error."""

    client: SpdyClient
    protocol: str
    streams: dict[str, ClientStream]

    async def open(self, *names: str) -> None:
        for name in names:
            self.streams[name] = await self.client.open({"streamtype": name})

    async def all(self) -> tuple[bytes, bytes, bytes]:
        out, err = [
            await self.streams[name].read_all() if name in self.streams else b"" for name in ("stdout", "stderr")
        ]
        return out, err, await self.streams["error"].read_all()


@asynccontextmanager
async def dialled(
    world: World, path: str, *protocols: str, answered: str = "", method: str = "POST"
) -> AsyncIterator[Remote]:
    tls: ssl.SSLContext = world.authority.client_context()
    asked = upgrade(world.port, path, tls=tls, protocols=protocols, extra=EXTRA, method=method)
    async with asked as answer:
        assert (answer.status, answer.values("upgrade")) == (101, ["SPDY/3.1"]), answer.body
        assert answer.values("x-stream-protocol-version") == [answered or protocols[0]]
        assert answer.wire is not None
        async with SpdyClient(answer.wire) as client:
            yield Remote(client, answered or protocols[0], {})


@pytest.mark.parametrize("protocol", [V4, V3, V2, V1])
@pytest.mark.parametrize("code", [0, 7, 255])
async def test_a_command_runs_and_its_end_is_told(
    served: Served, workload: ScriptedWorkload, protocol: str, code: int
) -> None:
    workload.script = exits
    async with served() as world, dialled(world, f"/exec/ns/pod/app?command={code}&{OUT}", protocol) as remote:
        await remote.open("error", "stdout", "stderr")
        out, err, error = await remote.all()
        assert await remote.client.goaway is GoAwayStatus.OK
        await remote.client.ended.wait()
    assert (out, err) == (b"out", b"err")
    if protocol == V4:
        status = json.loads(error)
        assert status["status"] == ("Failure" if code else "Success")
        assert status.get("details", {}).get("causes", []) == (
            [{"reason": "ExitCode", "message": str(code)}] if code else []
        )
    else:
        assert bool(error) == bool(code)


async def test_the_api_servers_translator_is_answered_with_version_4(
    served: Served, workload: ScriptedWorkload
) -> None:
    workload.script = exits
    path = f"/exec/ns/pod/app?command=0&{OUT}"
    async with served() as world, dialled(world, path, V5, V4, V3, V2, V1, answered=V4, method="GET") as remote:
        await remote.open("error", "stdout", "stderr")
        assert (await remote.all())[0] == b"out"


async def test_megabytes_come_back_the_same_and_input_ends_before_output(
    served: Served, workload: ScriptedWorkload
) -> None:
    sent = os.urandom(6_000_000)

    async def cat(process: ScriptedProcess, _command: list[str]) -> Ended:
        while (data := await process.input.get()) is not None:
            await process.say(data)
        await process.say(b" the end")
        return Ended(3)

    workload.script = cat
    path = f"/exec/ns/pod/app?command=cat&input=1&{OUT}"
    async with served() as world, dialled(world, path, V4) as remote, asyncio.TaskGroup() as group:
        await remote.open("error", "stdin", "stdout", "stderr")
        hearing = group.create_task(remote.all())
        for start in range(0, len(sent), 32768):
            await remote.streams["stdin"].write(sent[start : start + 32768])
        await remote.streams["stdin"].close()
        out, _, error = await hearing
    assert hashlib.sha256(out).digest() == hashlib.sha256(sent + b" the end").digest()
    assert json.loads(error)["details"]["causes"][0]["message"] == "3"


async def test_the_end_is_told_to_who_is_still_writing(served: Served, workload: ScriptedWorkload) -> None:
    async def head(process: ScriptedProcess, _command: list[str]) -> Ended:
        await process.input.get()
        await process.say(b"enough")
        return Ended()

    workload.script = head

    async def write(remote: Remote) -> None:
        while True:
            await remote.streams["stdin"].write(b"x" * 32768)

    path = f"/exec/ns/pod/app?command=head&input=1&{OUT}"
    async with served() as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdin", "stdout", "stderr")
        async with running(write(remote)):
            out, _, error = await remote.all()
            assert await remote.streams["stdin"].read_all() == b""
            await remote.client.goaway
    assert (out, json.loads(error)["status"]) == (b"enough", "Success")


async def test_a_terminal_has_one_output_and_sizes(served: Served, workload: ScriptedWorkload) -> None:
    async def shell(process: ScriptedProcess, _command: list[str]) -> Ended:
        await process.say(b"$ ")
        await process.say(b"oops", stderr=True)
        assert await process.input.get() == b"exit\r"
        return Ended()

    workload.script = shell
    path = f"/exec/ns/pod/app?command=sh&input=1&tty=1&{OUT}"
    async with served() as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdin", "stdout", "resize")
        await remote.streams["resize"].write(b'{"Width":80,"Hei')
        await remote.streams["resize"].write(b'ght":24}\n')
        await soon(lambda: bool(workload.processes and workload.processes[0].sizes), "a size")
        await remote.streams["stdin"].write(b"exit\r")
        out, _, error = await remote.all()
    assert (out, json.loads(error)["status"]) == (b"$ oops", "Success")
    assert workload.processes[0].sizes == [(80, 24)]


async def test_attach_goes_by_the_container_and_waits_for_what_was_asked_for(
    served: Served, workload: ScriptedWorkload
) -> None:
    async def said(process: ScriptedProcess, _command: list[str]) -> Ended:
        return await exits(process, ["7"])

    workload.script, workload.tty = said, True
    async with served() as world, dialled(world, f"/attach/ns/pod/app?{OUT}", V4) as remote:
        await remote.open("error", "stdout", "stderr")
        out, err, error = await remote.all()
    assert (out, err, json.loads(error)["status"]) == (b"outerr", b"", "Success")


async def test_what_cannot_be_done_is_said_in_the_status(served: Served, workload: ScriptedWorkload) -> None:
    workload.refuse = Transient("there is no way in")
    async with served() as world, dialled(world, f"/exec/ns/pod/app?command=a&{OUT}", V4) as remote:
        await remote.open("error", "stdout", "stderr")
        error = json.loads((await remote.all())[2])
    assert error["message"] == "Internal error occurred: error executing command in container: there is no way in"


async def test_who_does_not_open_the_streams_is_not_waited_for(served: Served, workload: ScriptedWorkload) -> None:
    path = f"/exec/ns/pod/app?command=a&{OUT}"
    async with served(Times(creation=0.2)) as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdout")
        await remote.client.goaway
    assert workload.processes == []


async def test_streams_too_many_and_of_no_kind_are_reset(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = exits
    async with served() as world, dialled(world, f"/exec/ns/pod/app?command=0&{OUT}", V4) as remote:
        strange = await remote.client.open({"streamtype": "data"})
        await remote.open("error", "stdout")
        again = await remote.client.open({"streamtype": "error"})
        none = await remote.client.open({})
        for stream in (strange, again, none):
            assert await stream.read_all() == b""
            assert stream.reset_by_server is not None
        await remote.open("stderr")
        assert (await remote.all())[0] == b"out"


@pytest.mark.parametrize("how", ["vanish", "goaway", "garbage"])
async def test_a_client_that_goes_away_ends_the_process(served: Served, workload: ScriptedWorkload, how: str) -> None:
    workload.script = sleeps
    path = f"/exec/ns/pod/app?command=a&input=1&{OUT}"
    async with served() as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdin", "stdout", "stderr")
        await soon(lambda: workload.running == 1, "a process")
        if how == "vanish":
            remote.client.wire.abort()
        else:
            said = {"goaway": "80030007000000080000000000000000", "garbage": "ff" * 40}[how]
            await remote.client.send(bytes.fromhex(said))
        await soon(lambda: workload.running == 0, "the process has ended")


async def test_a_client_whose_input_is_not_taken_may_go_as_well(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = sleeps
    path = f"/exec/ns/pod/app?command=a&input=1&{OUT}"
    async with served(Times(heartbeat=0.05)) as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdin", "stdout", "stderr")
        for _ in range(20):
            await remote.streams["stdin"].write(b"x" * 1000)
            await asyncio.sleep(0.01)
        await remote.client.send(bytes.fromhex("80030007000000080000000000000000"))
        await soon(lambda: workload.running == 0, "the process has ended")


async def test_a_connection_without_a_byte_is_ended(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = sleeps
    path = f"/exec/ns/pod/app?command=a&{OUT}"
    async with served(Times(idle=0.3)) as world, dialled(world, path, V4) as remote:
        await remote.open("error", "stdout", "stderr")
        assert (await remote.all())[0] == b""
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
    async with served() as world:
        tls = world.authority.client_context()
        asked = upgrade(world.port, f"/exec/ns/pod/app?command=yes&{OUT}", tls=tls, protocols=(V4,), extra=EXTRA)
        async with asked as answer:
            client = SpdyClient(answer.wire)  # which is not entered, and so reads nothing
            for name in ("error", "stdout", "stderr"):
                await client.open({"streamtype": name}, wait=False)
            before = -1
            while said != before or not said:
                before = said
                await asyncio.sleep(0.3)
            assert said * 32768 < 64_000_000
            assert await world.get("/healthz", token=FULL) == (200, "ok")
        await soon(lambda: workload.running == 0, "the process has ended")


@pytest.mark.parametrize(
    ("offered", "status", "words"),
    [
        ([], 400, "unable to upgrade: header X-Stream-Protocol-Version does not exist"),
        ([" , "], 400, "no valid protocols"),
        ([V5], 403, "unable to negotiate protocol: client supports [v5.channel.k8s.io], server accepts [v4."),
        (["portforward.k8s.io"], 403, "unable to negotiate protocol"),
    ],
)  # fmt: skip
async def test_what_is_refused_before_the_upgrade(
    served: Served, workload: ScriptedWorkload, offered: list[str], status: int, words: str
) -> None:
    async with served() as world:
        tls: Any = world.authority.client_context()
        path = f"/exec/ns/pod/app?command=a&{OUT}"
        async with upgrade(world.port, path, tls=tls, protocols=tuple(offered), extra=EXTRA) as answer:
            assert (answer.status, workload.asked) == (status, [])
            assert words in answer.body
            accepted = answer.values("x-accepted-stream-protocol-versions")
            assert accepted == ([V4, V3, V2, V1] if status == 403 else [])


async def test_protocols_without_an_upgrade_are_refused(served: Served) -> None:
    async with served() as world, world.client() as session:
        headers = {**HEADERS, "X-Stream-Protocol-Version": V4}
        async with session.post(world.url(f"/exec/ns/pod/app?command=a&{OUT}"), headers=headers) as response:
            assert response.status == 400
            assert "missing upgrade headers" in await response.text()


async def test_many_execs_leave_nothing_behind(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = exits

    async def one(world: World) -> None:
        async with dialled(world, f"/exec/ns/pod/app?command=7&{OUT}", V4) as remote:
            await remote.open("error", "stdout", "stderr")
            out, _, error = await remote.all()
            assert (out, json.loads(error)["reason"]) == (b"out", "NonZeroExitCode")
            await remote.client.goaway

    async with served() as world:
        await one(world)
        tasks, files = len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(300):
            await one(world)
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(one(world))
        assert (workload.running, len(workload.processes)) == (0, 401)
        await soon(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
        await soon(lambda: len(list(Path("/proc/self/fd").iterdir())) <= files, "no file is left open")
