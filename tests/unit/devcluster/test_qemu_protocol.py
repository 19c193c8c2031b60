"""QMP and the guest agent's channel, what events mean, and which accelerator is chosen."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.devcluster.devhost.podstatus import image_id
from kubelet_bridge.devcluster.devhost.qemu import accelerator, localimages, probe, qmp, states
from kubelet_bridge.devcluster.devhost.qemu.agent import Agent
from kubelet_bridge.devcluster.devhost.qemu.serial import SerialLine
from kubelet_bridge.devcluster.devhost.runtime import Exit, GuestState
from kubelet_bridge.errors import Transient

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UP = GuestState(started_at=NOW, booted=True)

Answer = Callable[[dict[str, Any]], list[bytes]]


@given(st.lists(st.dictionaries(st.text(), st.integers())), st.data())
def test_messages_come_whole_however_they_are_cut(messages: list[dict[str, int]], data: st.DataObject) -> None:
    stream = b"".join(b"\xff" + json.dumps(message).encode() + b"\r\n" for message in messages)
    wire, found, rest = qmp.Wire(), list[dict[str, Any]](), stream
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += wire.feed(rest[:size])
        rest = rest[size:]
    assert found == messages


def test_what_is_no_message_is_left_out() -> None:
    assert qmp.Wire().feed(b'nonsense\n[1]\n{"return": {}}\n') == [{"return": {}}]


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for piece in answer(json.loads(line)):
                writer.write(piece)
        writer.close()

    return await asyncio.start_unix_server(session, path)


async def with_server(path: Path, answer: Answer, act: Callable[[], Awaitable[None]]) -> None:
    server = await serve(path, answer)
    try:
        await act()
    finally:
        server.close()
        await asyncio.sleep(0)


async def test_replies_events_and_errors(tmp_path: Path) -> None:
    events, lost = list[str](), asyncio.Event()

    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["execute"] == "bad":
            return [b'{"error": {"class": "GenericError", "desc": "no"}}\n']
        return [b'{"event": "RESUME"}\n', json.dumps({"return": request.get("arguments")}).encode() + b"\n"]

    async def act() -> None:
        connection = await qmp.connect(tmp_path / "s", lambda name, _data: events.append(name), lost.set)
        first, second = await asyncio.gather(connection.execute("a", {"x": 1}), connection.execute("a", {"x": 2}))
        assert (first, second) == ({"x": 1}, {"x": 2})
        with pytest.raises(qmp.CommandFailed, match="no"):
            await connection.execute("bad")
        connection.close()
        await lost.wait()
        with pytest.raises(Transient):
            await connection.execute("a")

    await with_server(tmp_path / "s", answer, act)
    assert events == ["RESUME", "RESUME"]


async def test_no_reply_ends_the_connection(tmp_path: Path) -> None:
    lost = asyncio.Event()

    async def act() -> None:
        connection = await qmp.connect(tmp_path / "s", lambda _name, _data: None, lost.set)
        with pytest.raises(Transient) as caught:
            await connection.execute("a", within=0.01)
        assert caught.value.reason == "Timeout"
        await lost.wait()

    await with_server(tmp_path / "s", lambda _request: [], act)


async def test_a_guest_agent_is_asked_after_a_sync(tmp_path: Path) -> None:
    replies: dict[str, Any] = {
        "guest-info": {"version": "7.2"}, "guest-get-host-name": {"host-name": "web-0"},
        "guest-get-osinfo": {"id": "debian", "version-id": "12", "kernel-release": "6.1"},
        "guest-get-timezone": {"zone": "UTC", "offset": 0}, "guest-get-users": [{"user": "root"}],
        "guest-get-fsinfo": [{"name": "vda1", "mountpoint": "/", "type": "ext4", "used-bytes": 1, "total-bytes": 2}],
    }  # fmt: skip

    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["execute"] == "guest-sync-delimited":
            return [b"\xff" + json.dumps({"return": request["arguments"]["id"]}).encode() + b"\n"]
        return [json.dumps({"return": replies[request["execute"]]}).encode() + b"\n"]

    async def act() -> None:
        agent = Agent(tmp_path / "s")
        info = await agent.info()
        assert (info.os_id, info.os_version, info.hostname, info.users) == ("debian", "12", "web-0", ("root",))
        assert info.filesystems[0].mount_point == "/"
        replies["guest-get-users"] = "nonsense"
        with pytest.raises(Transient, match="guest-get-users"):
            await agent.info()
        agent.close()

    await with_server(tmp_path / "s", answer, act)


async def test_without_an_agent_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Transient):
        await Agent(tmp_path / "absent").info()


async def test_every_reader_of_the_serial_line_hears_the_same(tmp_path: Path) -> None:
    typed = asyncio.Queue[bytes]()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        typed.put_nowait(await reader.read(10))
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(session, tmp_path / "s")
    line = SerialLine()
    await line.connect(tmp_path / "s")
    one, two = line.attach(), line.attach()
    await one.write(b"x")
    assert await typed.get() == b"x"
    assert [await one.read(), await two.read()] == [b"hello", b"hello"]
    assert [await one.read(), await two.read(), await line.attach().read()] == [b"", b"", b""]
    server.close()


@pytest.mark.parametrize(
    ("event", "data", "wanted"),
    [
        ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}, Exit.SHUTDOWN),
        ("SHUTDOWN", {"guest": True, "reason": "guest-panic"}, Exit.CRASHED),
        ("SHUTDOWN", {"guest": False, "reason": "host-signal"}, Exit.DESTROYED),
        ("GUEST_PANICKED", {"action": "pause"}, Exit.CRASHED),
        ("NIC_RX_FILTER_CHANGED", {}, None),
    ],
)
def test_how_a_guest_ends(event: str, data: dict[str, Any], wanted: Exit | None) -> None:
    after = states.after(UP, event, data, NOW)
    assert after.exit is wanted
    assert after == (UP if wanted is None else after)
    assert wanted is None or states.after(after, "RESUME", {}, NOW) == after


def test_running_pausing_and_booting_again() -> None:
    assert states.after(GuestState(), "STOP", {}, NOW) == GuestState()
    running = states.after(GuestState(), "RESUME", {}, NOW)
    assert running == GuestState(started_at=NOW)
    assert states.after(running, "STOP", {}, NOW).paused
    assert not states.after(UP, "RESET", {"guest": True}, NOW).booted
    assert not states.after(UP, "VSERPORT_CHANGE", {"open": False}, NOW).booted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [("running", None), ("paused", None), ("shutdown", Exit.SHUTDOWN), ("guest-panicked", Exit.CRASHED)],
)
def test_a_machine_that_was_found(status: str, wanted: Exit | None) -> None:
    state = states.found(status, NOW)
    assert (state.exit, state.paused) == (wanted, status == "paused")


def test_kvm_only_when_a_guest_ran_with_it() -> None:
    tried = list[str]()

    def attempt(arguments: tuple[str, ...], *, works: str = "") -> str:
        tried.append(arguments[-1])
        return "" if arguments[-1] == works else "it hung"

    assert accelerator.decide("no /dev/kvm", attempt).name == "tcg"
    assert tried == []
    chosen = accelerator.decide("", attempt)
    assert (chosen.name, chosen.reason, tried) == ("tcg", "KVM opens, but it hung", ["host", "host,-arch-capabilities"])
    second = accelerator.decide("", lambda arguments: attempt(arguments, works="host,-arch-capabilities"))
    assert second.arguments == ("-accel", "kvm", "-cpu", "host,-arch-capabilities")
    assert accelerator.decide("", lambda arguments: attempt(arguments, works="host")).name == "kvm"


def test_the_answer_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, ...]]()
    monkeypatch.setattr(accelerator, "_device", lambda: "")
    monkeypatch.setattr(probe, "run", lambda arguments, _directory: asked.append(arguments) or "it hung")
    assert accelerator.choose(tmp_path) == accelerator.choose(tmp_path)
    assert len(asked) == 2


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_the_probe_guest_runs_by_emulation(tmp_path: Path) -> None:
    assert probe.run(("-accel", "tcg", "-cpu", "max"), tmp_path) == ""
    assert probe.run(("-accel", "no-such-thing"), tmp_path) != ""


@pytest.mark.skipif(shutil.which("as") is None or shutil.which("objcopy") is None, reason="binutils not installed")
def test_the_probe_is_its_source(tmp_path: Path) -> None:
    source = Path(probe.__file__).with_name("probe.S")
    built, sector = tmp_path / "probe.o", tmp_path / "probe.bin"
    subprocess.run(["as", "--64", "-o", str(built), str(source)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(built), str(sector)], check=True)
    assert sector.read_bytes() == probe.SECTOR


def test_container_disks_by_tag_and_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELET_BRIDGE_CACHE", str(tmp_path))
    disk = tmp_path / "images/quay.io/containerdisks/debian/12.qcow2"
    disk.parent.mkdir(parents=True)
    disk.touch()
    name = "quay.io/containerdisks/debian:12"
    digest = image_id(name).partition("@")[2]
    assert localimages.find(name) == localimages.find(f"{name.rpartition(':')[0]}@{digest}") == disk
    assert localimages.find(f"quay.io/containerdisks/debian@sha256:{'0' * 64}") is None
    for absent in ("quay.io/containerdisks/debian", "debian:12", f"../{name}", "host:5000/debian"):
        assert localimages.find(absent) is None
