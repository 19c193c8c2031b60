"""What exec, attach and run answer over plain HTTP: refusals before an upgrade, and all of run."""

import base64

import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.ports import Ended
from tests.support.channels import HEADERS, OUT, Served
from tests.support.kubelet_endpoint import FULL, raw
from tests.support.workloads import ScriptedProcess, ScriptedWorkload, exits

UPGRADE = {
    **HEADERS, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"k" * 16).decode(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("GET", f"/exec/ns/other/app?command=a&{OUT}", UPGRADE, 404, "pod does not exist"),
        ("GET", f"/exec/ns/pod/another/app?command=a&{OUT}", UPGRADE, 404, "pod does not exist"),
        ("GET", f"/exec/ns/pod/db?command=a&{OUT}", UPGRADE, 404, 'container not found ("db")'),
        ("GET", "/exec/ns/pod/app?command=a&tty=1&error=1", UPGRADE, 400, "you must specify at least 1 of stdin"),
        ("POST", "/attach/ns/pod/app", UPGRADE, 400, "you must specify at least 1 of stdin"),
        ("GET", f"/exec/ns/pod/app?command=a&{OUT}", HEADERS, 400, "pgrade"),
        ("POST", f"/attach/ns/pod/app?{OUT}", HEADERS, 400, "pgrade"),
        ("POST", f"/exec/ns/pod/app?command=a&{OUT}", UPGRADE, 405, "bad method"),
        ("GET", f"/exec/ns/pod/app?{OUT}", {**UPGRADE, "Sec-WebSocket-Protocol": "v3.channel.k8s.io, x"}, 403,
         "requested protocol(s) are not supported: [v3.channel.k8s.io x]"),
        ("GET", f"/exec/ns/pod/app?{OUT}", {**UPGRADE, "Sec-WebSocket-Version": "12"}, 400, "version"),
        ("PUT", f"/exec/ns/pod/app?command=a&{OUT}", HEADERS, 405, ""),
        ("GET", "/run/ns/pod/app?cmd=a", HEADERS, 405, ""),
        ("POST", "/run/ns/other/app?cmd=a", HEADERS, 404, "pod does not exist"),
    ],
)  # fmt: skip
async def test_what_is_refused_before_the_upgrade(
    served: Served, workload: ScriptedWorkload, method: str, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    async with (
        served() as world,
        world.client() as session,
        session.request(method, world.url(path), headers=headers) as response,
    ):
        text = await response.text()
    assert (response.status, workload.asked) == (status, [])
    assert words in text


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Upgrade: websocket\r\nSec-WebSocket-Protocol: \xff", 403),
        (b"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: \xff", 403),
    ],
)
async def test_a_refusal_quotes_what_is_not_text(served: Served, head: bytes, status: int) -> None:
    async with served() as world, raw(world) as (reader, writer):
        line = f"GET /exec/ns/pod/app?command=a&{OUT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FULL}\r\n".encode()
        writer.write(line + b"Connection: Upgrade\r\n" + head + b"\r\n\r\n")
        assert int((await reader.readline()).split()[1]) == status


async def test_run_answers_with_the_output(served: Served, workload: ScriptedWorkload) -> None:
    workload.script = exits
    async with served() as world:
        assert await world.ask("POST", "/run/ns/pod/app?cmd=a%20b%200", token=FULL) == (200, "outerr")
        assert await world.ask("POST", "/run/ns/pod/uid/app?cmd=a%207", token=FULL) == (
            500,
            "command 'a 7' exited with 7: err\n",
        )
        workload.refuse = Transient("no way in")
        assert await world.ask("POST", "/run/ns/pod/app?cmd=a", token=FULL) == (503, "no way in\n")
    assert workload.asked[0] == ("exec", ["a", "b", "0"], False, False)


async def test_run_takes_no_more_output_than_an_answer_holds(served: Served, workload: ScriptedWorkload) -> None:
    async def floods(process: ScriptedProcess, _command: list[str]) -> Ended:
        while True:
            await process.say(b"x" * 1_000_000)

    workload.script = floods
    async with served() as world:
        status, text = await world.ask("POST", "/run/ns/pod/app?cmd=yes", token=FULL)
    assert (status, workload.running) == (500, 0)
    assert "more than 16777216 bytes" in text
