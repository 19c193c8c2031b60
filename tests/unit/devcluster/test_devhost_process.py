"""Guests that are processes: a stand-in for the agent's file, everything else real."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.devcluster.devhost.process.places import Places
from kubelet_bridge.devcluster.devhost.process.runtime import ProcessRuntime
from kubelet_bridge.devcluster.devhost.runtime import ByteStream, Exit, Guest, GuestSpec, GuestState
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.devcluster.processes import Process, identify
from kubelet_bridge.errors import Terminal, Transient
from kubelet_bridge.guest.bundle import Bundle

NAMESPACES = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"]
allowed = shutil.which("unshare") is not None and subprocess.run(NAMESPACES, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces")

HOSTS_BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
VMI = {
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
    "spec": {
        "domain": {"firmware": {"uuid": "f1"}},
        "volumes": [{"name": "seed", "cloudInitNoCloud": {"secretRef": {"name": "web-cloudinit"}}}],
    },
}
SPEC = GuestSpec(
    uid="u1", namespace="shop", name="web", hostname="web", address="10.0.0.20", vmi=msgspec.json.encode(VMI)
)

# What it does of an agent: it says that it runs, leaves a process behind that nobody waits for, and can be stopped.
AGENT = """\
import os, pathlib, socket, subprocess, sys, time
state = pathlib.Path("/var/lib/kubelet-bridge")
command = sys.argv[1]
if command == "seed":
    (state / "seed").write_text((pathlib.Path(sys.argv[3]) / "user-data").read_text())
elif command == "run":
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    pathlib.Path("/root/was-here").touch()
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with (state / "boots").open("a") as file:
        file.write(f"{boot} {socket.gethostname()} {os.getpid()}\\n")
    print("agent is up", flush=True)
    time.sleep(1000)
elif command == "stop":
    (state / "stopped").touch()
    print("containers stopped", flush=True)
"""


class _Host:
    """Has the guest's Secret, and wakes whoever waits for news of it."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def changed(self, guest: Guest) -> None:
        self._news.set()

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        assert (namespace, name) == ("shop", "web-cloudinit")
        return {"userdata": b"#cloud-config\n{}\n"}

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes]:
        raise AssertionError(f"nobody asked for {namespace}/{name}")

    async def until(self, guest: Guest, wanted: Callable[[GuestState], bool]) -> None:
        while not wanted(guest.state):
            self._news.clear()
            await self._news.wait()


class World:
    """A host with its directory; ``restarted`` gives another process's view of it."""

    def __init__(self, directory: Path) -> None:
        self.host = _Host()
        self.layout = Layout(directory / "dev")
        self.layout.make()
        self.agent = directory / "agent"
        self.agent.write_text(AGENT)
        self.places = Places(self.layout.directory / "guests" / "dev-host-0" / SPEC.uid)
        self.runtime = self.made()

    def made(self) -> ProcessRuntime:
        return ProcessRuntime("dev-host-0", self.layout, self.host, lambda: Bundle(self.agent, "1", "0" * 64, 1))

    def file(self, name: str) -> Path:
        return self.places.written / "var/lib/kubelet-bridge" / name

    def booted(self) -> list[list[str]]:
        """Boot id, hostname and pid of each boot so far."""
        return (
            [line.split() for line in self.file("boots").read_text().splitlines()]
            if self.file("boots").exists()
            else []
        )

    async def boots(self, count: int) -> list[list[str]]:
        """The same, when there have been so many."""
        while len(found := self.booted()) < count:
            await asyncio.sleep(0.02)
        return found

    def first_process(self) -> Process | None:
        return self.places.remembered()

    def leftovers(self) -> list[int]:
        """Processes that have the guest's root."""
        found = []
        for root in Path("/proc").glob("[0-9]*/root"):
            with contextlib.suppress(OSError):
                found += [int(root.parent.name)] if str(root.readlink()) == str(self.places.directory / "root") else []
        return found


def state_of(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().split()[2]


@pytest.fixture
def machine(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def world(machine: World) -> AsyncIterator[World]:
    task = asyncio.get_running_loop().create_task(machine.runtime.run())
    yield machine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await machine.runtime.retain([])
    assert await asyncio.to_thread(machine.first_process) is None


def ended(state: GuestState) -> bool:
    return state.exit is not None


async def heard(stream: ByteStream, last: bytes) -> bytes:
    words = b""
    while last not in words:
        piece = await stream.read()
        assert piece, words
        words += piece
    return words


async def test_a_guest_has_a_machine_of_its_own(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    assert guest.state.running
    assert guest.state.booted
    ((boot, hostname, pid),) = await world.boots(1)
    assert hostname == "web"
    assert boot != HOSTS_BOOT_ID
    assert int(pid) < 1000, "its processes are numbered from one on"
    assert world.file("seed").read_text() == "#cloud-config\n{}\n"
    assert await asyncio.to_thread((world.places.written / "root/was-here").exists), "it writes to a layer of its own"
    assert (await guest.info()).hostname == "web"


async def test_the_power_button_stops_containers_first(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    await world.boots(1)
    console = await guest.console()
    await guest.shutdown()
    assert b"containers stopped\r\n" in await heard(console, b"stopped\r\n")
    await world.host.until(guest, ended)
    assert guest.state.exit is Exit.SHUTDOWN
    assert await console.read() == b""
    assert await asyncio.to_thread(world.first_process) is None


@pytest.mark.parametrize(("way", "exit_"), [("kill", Exit.DESTROYED), ("crash", Exit.CRASHED)])
async def test_nothing_is_left_of_one_that_dies(world: World, way: str, exit_: Exit) -> None:
    guest = await world.runtime.start(SPEC)
    await world.boots(1)
    first = await asyncio.to_thread(world.first_process)
    assert first is not None
    assert await asyncio.to_thread(world.leftovers) != []
    await getattr(guest, way)()
    await world.host.until(guest, ended)
    assert guest.state.exit is exit_
    assert await asyncio.to_thread(identify, first.pid) != first
    assert await asyncio.to_thread(world.leftovers) == []


@pytest.mark.parametrize(("way", "orderly"), [("reboot", True), ("reset", False)])
async def test_it_boots_again_with_what_it_has_written(world: World, way: str, orderly: bool) -> None:
    guest = await world.runtime.start(SPEC)
    started = guest.state.started_at
    await world.boots(1)
    await getattr(guest, way)()
    first, second = await world.boots(2)
    assert first[0] != second[0]
    assert world.file("stopped").exists() == orderly
    assert (guest.state.exit, guest.state.started_at) == (None, started)
    await guest.kill()
    await world.host.until(guest, ended)
    assert guest.state.exit is Exit.DESTROYED


async def test_a_paused_guest_does_nothing_until_it_may(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    await world.boots(1)
    await guest.pause()
    assert guest.state.paused
    first = await asyncio.to_thread(world.first_process)
    assert first is not None
    assert await asyncio.to_thread(state_of, first) == "T"
    await guest.unpause()
    assert not guest.state.paused
    await guest.shutdown()
    await world.host.until(guest, ended)
    assert guest.state.exit is Exit.SHUTDOWN


async def test_a_host_that_restarts_finds_its_guests(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    await world.boots(1)
    later = world.made()
    await later.retain([SPEC.uid])
    found = await later.adopt(SPEC, guest.state)
    assert found is not None
    assert found.state == guest.state
    await found.shutdown()
    await world.host.until(guest, ended)
    gone = await world.made().adopt(SPEC, msgspec.structs.replace(guest.state, exit=None))
    assert gone is not None
    assert gone.state.exit is Exit.SHUTDOWN, "it shut down while nobody was looking"


async def test_one_that_died_unseen_is_not_found(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    await guest.crash()
    await world.host.until(guest, ended)
    assert await world.made().adopt(SPEC, GuestState()) is None


async def test_an_agent_that_ends_is_started_again(world: World) -> None:
    await asyncio.to_thread(world.agent.write_text, AGENT.replace("time.sleep(1000)", "pass"))
    await world.runtime.start(SPEC)
    first, second = await world.boots(2)
    assert first[0] == second[0], "the machine did not boot again"


async def test_a_guest_with_a_claims_disk_is_refused_with_words(world: World) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    document = {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": {"volumes": [volume]}}
    with pytest.raises(Terminal, match="volume data: guests of mode process have no disks"):
        await world.runtime.start(msgspec.structs.replace(SPEC, vmi=msgspec.json.encode(document)))
    assert not world.booted()


async def test_it_cannot_be_sent(world: World) -> None:
    guest = await world.runtime.start(SPEC)
    with pytest.raises(Transient, match="cannot be migrated"):
        await guest.migrate("", {}, "")
    with pytest.raises(Terminal, match="cannot be migrated"):
        await world.runtime.receive(SPEC, "", "")
