"""Agents that replace themselves: real files, real processes, a real HTTPS server, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kubelet_bridge import __version__
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.bundle import Bundle
from tests.support.guestbridge import GuestBridge, Stream
from tests.unit.agent.whole.conftest import NEWER, Files, Machine
from tests.unit.agent.whole.test_zipapp import manifest, reported

pytestmark = pytest.mark.timeout(180)

SOON = b"PROBATION_SECONDS = 3.0"


def variant(built: Bundle, to: Path, edits: dict[str, Callable[[bytes], bytes]] | None = None) -> bytes:
    """Another agent: newer by its version, impatient, and with these files of it changed."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "kubelet_bridge/__init__.py": lambda text: text.replace(__version__.encode(), NEWER.encode()),
        "kubelet_bridge/agent/update.py": lambda text: text.replace(b"PROBATION_SECONDS = 120.0", SOON),
        **(edits or {}),
    }
    with zipfile.ZipFile(built.path) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            changed = changes[name](content) if name in changes else content
            assert name not in changes or changed != content, f"{name} is not what it was"
            new.writestr(name, changed)
    return to.read_bytes()


def current(machine: Machine) -> str:
    return (machine.directory / "state" / "agent" / "current.pyz").resolve().stem


def remembered(machine: Machine) -> dict[str, object]:
    found = json.loads((machine.directory / "state" / "update.json").read_text())
    assert isinstance(found, dict)
    return found


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


async def begun(bridge: GuestBridge, machine: Machine) -> tuple[asyncio.subprocess.Process, Stream, str]:
    """An agent with a container."""
    agent = await machine.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=manifest("/bin/sleep", "1000"))
    return agent, stream, (await reported(stream, "running")).container_id


async def test_a_newer_one_takes_over_and_containers_do_not_notice(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path
) -> None:
    agent, stream, container = await begun(bridge, machine)
    offer = files.offer(variant(built, tmp_path / "newer.pyz"))
    await stream.say(agent_offer=offer)
    newer = await bridge.streams.get()
    assert (newer.hello.agent_version, newer.hello.agent_digest) == (NEWER, offer.digest)
    assert newer.hello.token_kind == pb.TOKEN_KIND_SESSION
    assert (await reported(newer, "running")).container_id == container
    assert agent.returncode is None, "it is the same process"
    await until(lambda: not remembered(machine)["trying"])
    assert current(machine) == offer.digest
    agents = machine.directory / "state" / "agent"
    # Its predecessor is removed after the record is written.
    await until(lambda: {path.name for path in agents.iterdir()} == {f"{offer.digest}.pyz", "current.pyz"})


@pytest.mark.parametrize("wrong", ["cut short", "corrupted", "too large", "not an agent", "needs another Python"])
async def test_what_is_not_the_agent_that_was_offered_is_left(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path, wrong: str
) -> None:
    _, stream, container = await begun(bridge, machine)
    content = variant(built, tmp_path / "newer.pyz")
    offer = files.offer(content)
    if wrong == "cut short":
        files.content = content[:-1]
    elif wrong == "corrupted":
        files.content = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    elif wrong == "too large":
        files.content = content + b"x"
    elif wrong == "not an agent":
        offer = files.offer(b"print('pwned')")
    else:
        late = {"kubelet_bridge/agent/podman/driver.py": lambda text: text + b"\nimport no_such_module\n"}
        offer = files.offer(variant(built, tmp_path / "late.pyz", late))
    await stream.say(agent_offer=offer)
    await until(lambda: "cannot be used" in machine.said.read_text())
    await stream.say(manifest=manifest("/bin/sleep", "1000"))
    await stream.heard("heartbeat")
    assert bridge.streams.empty(), "it did not even hang up"
    assert not (machine.directory / "state" / "agent" / "current.pyz").exists()
    partial = [path.name for path in (machine.directory / "state" / "agent").iterdir() if path.name.startswith(".")]
    assert partial == []
    assert container


async def test_one_that_is_not_welcomed_is_replaced_by_its_predecessor(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path
) -> None:
    agent, stream, container = await begun(bridge, machine)
    mute = {
        "kubelet_bridge/agent/handshake.py": lambda text: text.replace(
            b"PROTOCOL_VERSION = 2", b"PROTOCOL_VERSION = []"
        )
    }
    offer = files.offer(variant(built, tmp_path / "mute.pyz", mute))
    bridge.welcome.agent.CopyFrom(offer)  # it is offered at every welcome, and must not be taken every time
    await stream.say(agent_offer=offer)
    stream = await bridge.streams.get()
    assert stream.hello.agent_digest == built.digest
    assert (await reported(stream, "running")).container_id == container
    assert agent.returncode is None
    assert current(machine) == built.digest
    assert [one[:2] for one in remembered(machine)["failures"]] == [[offer.digest, 1]]  # type: ignore[attr-defined]
    await stream.heard("heartbeat")
    assert files.answers == 1


async def test_one_that_ends_at_once_is_replaced_after_three_starts(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path
) -> None:
    agent, stream, container = await begun(bridge, machine)
    # It loads, and fails in the first thing it does.
    short = {
        "kubelet_bridge/agent/running.py": lambda text: text.replace(
            b"    paths.make()\n", b"    raise SystemExit(9)\n"
        )
    }
    offer = files.offer(variant(built, tmp_path / "short.pyz", short))
    await stream.say(agent_offer=offer)
    assert await agent.wait() == 9
    assert current(machine) == offer.digest
    machine.file = machine.directory / "state" / "agent" / "current.pyz"  # which is what its unit starts
    codes = [await (await machine.start()).wait() for _ in range(2)]
    await machine.start()
    stream = await bridge.streams.get()
    assert codes == [9, 9]
    assert stream.hello.agent_digest == built.digest
    assert (await reported(stream, "running")).container_id == container


@pytest.mark.parametrize("step", ["before the link", "after the link"])
async def test_the_power_may_fail_while_one_takes_over(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path, step: str
) -> None:
    content = variant(built, tmp_path / "newer.pyz")
    offer = files.offer(content)
    agents = machine.directory / "state" / "agent"
    agents.mkdir(parents=True)
    (agents / f"{built.digest}.pyz").write_bytes(built.path.read_bytes())
    (agents / f"{offer.digest}.pyz").write_bytes(content)
    linked = built.digest if step == "before the link" else offer.digest
    (agents / "current.pyz").symlink_to(f"{linked}.pyz")
    (agents / ".current.pyz").symlink_to("left-over")
    record = {"trying": offer.digest, "previous": built.digest, "starts": 0, "failures": []}
    (machine.directory / "state" / "update.json").write_text(json.dumps(record))
    machine.file = agents / "current.pyz"
    bridge.welcome.agent.CopyFrom(offer)
    await machine.start()
    first = await bridge.streams.get()
    assert first.hello.agent_digest == linked
    if step == "before the link":
        assert (await bridge.streams.get()).hello.agent_digest == offer.digest
    await until(lambda: not remembered(machine)["trying"])
    assert current(machine) == offer.digest


async def test_on_a_full_disk_everything_stays_as_it_is(
    bridge: GuestBridge, machine: Machine, files: Files, built: Bundle, tmp_path: Path
) -> None:
    _, stream, _ = await begun(bridge, machine)
    offer = files.offer(variant(built, tmp_path / "newer.pyz"))
    (machine.directory / "state" / "agent" / f".{offer.digest}.pyz").mkdir()  # as good as a full disk, even for root
    await stream.say(agent_offer=offer)
    await until(lambda: "cannot be used" in machine.said.read_text())
    await stream.heard("heartbeat")
    (machine.directory / "state" / "agent" / f".{offer.digest}.pyz").rmdir()
    await stream.say(agent_offer=offer)
    assert (await bridge.streams.get()).hello.agent_digest == offer.digest
