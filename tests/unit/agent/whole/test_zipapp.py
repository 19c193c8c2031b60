"""The agent's one file, as a process of its own, without anything of this environment."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubelet_bridge import __version__
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.bundle import Bundle
from tests.support.guestbridge import POD_UID, GuestBridge, Stream
from tests.unit.agent.whole.conftest import Machine, cache

pytestmark = pytest.mark.timeout(120)


def test_it_is_small_and_the_same_each_time(built: Bundle, tmp_path: Path) -> None:
    bundle.build(tmp_path / "again.pyz", cache())
    assert (tmp_path / "again.pyz").read_bytes() == built.path.read_bytes()
    assert built.size == built.path.stat().st_size <= bundle.LIMIT
    assert built.digest == hashlib.sha256(built.path.read_bytes()).hexdigest()


def test_it_says_its_version(built: Bundle) -> None:
    said = subprocess.run(
        [sys.executable, "-I", "-S", built.path, "version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == built.version == __version__


def test_something_else_is_not_taken_for_an_agent(tmp_path: Path) -> None:
    (tmp_path / "agent.pyz").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(bundle.Terminal, match="is not an agent"):
        bundle.load(tmp_path / "agent.pyz")


async def test_without_a_seed_it_says_so_in_one_line(machine: Machine) -> None:
    (machine.directory / "agent.json").unlink()
    process = await machine.start()
    assert await process.wait() == 2
    assert (
        machine.said.read_text().strip()
        == f"{machine.directory}/agent.json does not exist: this machine was not started by a bridge"
    )


def manifest(*command: str) -> pb.PodManifest:
    made = pb.PodManifest(
        revision="1", pod_uid=POD_UID, pod_name="web", pod_namespace="default", boot="boot-1",
        runtime=pb.RUNTIME_HOST, restart_policy=pb.RESTART_POLICY_NEVER, termination_grace_seconds=10,
    )  # fmt: skip
    made.containers.add(name="app", image="os", command=command)
    return made


async def reported(stream: Stream, state: str) -> pb.ContainerReport:
    """The container, once it is in this state."""
    while True:
        report = (await stream.heard("report")).report
        if report.containers and report.containers[0].WhichOneof("state") == state:
            return report.containers[0]


async def test_a_whole_life(bridge: GuestBridge, machine: Machine, built: Bundle) -> None:
    bridge.acknowledging = True
    agent = await machine.start()
    stream = await bridge.streams.get()
    assert stream.hello.agent_digest == built.digest
    assert stream.hello.boot_id
    assert stream.hello.info.kernel_release == os.uname().release
    await stream.say(manifest=manifest("/bin/sh", "-c", "echo begun; while :; do sleep 0.1; done"))
    running = await reported(stream, "running")

    agent.kill()  # and nothing happens to the container
    await agent.wait()
    agent = await machine.start()
    stream = await bridge.streams.get()
    assert stream.hello.token_kind == pb.TOKEN_KIND_SESSION
    await stream.say(manifest=manifest("/bin/sh", "-c", "echo begun; while :; do sleep 0.1; done"))
    again = await reported(stream, "running")
    assert (again.container_id, again.running) == (running.container_id, running.running)

    stop = await machine.start("stop", "--grace", "5")
    ended = await reported(stream, "terminated")
    assert (ended.container_id, ended.terminated.signal) == (running.container_id, signal.SIGTERM)
    assert await stop.wait() == 0
    agent.terminate()
    assert await agent.wait() == 0


async def test_the_logs_are_there_before_the_end_is_told(bridge: GuestBridge, machine: Machine) -> None:
    bridge.acknowledging = True
    await machine.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=manifest("/bin/sh", "-c", "echo one; echo two >&2; printf three; exit 3"))
    lines: list[bytes] = []
    while True:
        message = await stream.said.get()
        if message.WhichOneof("body") == "logs":
            lines += [record.data for record in message.logs.records]
        if message.WhichOneof("body") == "report" and message.report.finished:
            break
    assert sorted(lines) == [b"one", b"three", b"two"]
    assert message.report.containers[0].terminated.exit_code == 3


async def test_exec_on_the_guest_itself(bridge: GuestBridge, machine: Machine) -> None:
    await machine.start()
    stream = await bridge.streams.get()
    opened = pb.StreamOpen(id=1, window=65536, exec=pb.ExecStream(command=["/bin/sh", "-c", "echo hello; exit 4"]))
    await stream.say(stream_open=opened)
    output = b""
    while True:
        message = await stream.said.get()
        if message.WhichOneof("body") == "stream_data":
            output += message.stream_data.data
        if message.WhichOneof("body") == "stream_closed":
            break
    assert (output, message.stream_closed.exit_code) == (b"hello\n", 4)
