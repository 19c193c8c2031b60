"""An agent that is started again while nobody answers at the bridge's address."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from tests.support.guestbridge import GuestBridge
from tests.unit.agent.whole.conftest import Machine
from tests.unit.agent.whole.test_zipapp import manifest, reported

pytestmark = pytest.mark.timeout(120)


async def lines(path: Path, wanted: int) -> list[str]:
    """What the container has written there, once it is so much."""
    while True:
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= wanted:
            return found
        await asyncio.sleep(0.05)


async def begun(bridge: GuestBridge, machine: Machine, made: pb.PodManifest) -> asyncio.subprocess.Process:
    agent = await machine.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=made)
    await reported(stream, "running")
    return agent


async def test_it_stops_the_containers_in_order_all_the_same(bridge: GuestBridge, machine: Machine) -> None:
    said = machine.directory / "said-by-container"
    made = manifest(
        "/bin/sh", "-c", f"trap 'echo stopped >>{said}; exit 0' TERM; echo up >>{said}; while :; do sleep 0.1; done"
    )
    made.containers[0].pre_stop.exec.command.extend(["/bin/sh", "-c", f"echo pre-stop >>{said}"])
    agent = await begun(bridge, machine, made)
    await lines(said, 1)
    await bridge.stop()
    agent.kill()
    await agent.wait()

    agent = await machine.start()
    stop = await machine.start("stop")  # at once: it may not have found yet what it is to stop
    assert await stop.wait() == 0
    assert said.read_text().splitlines() == ["up", "pre-stop", "stopped"]
    agent.terminate()
    assert await agent.wait() == 0

    await machine.start()  # and it stays stopped, and is told when the bridge is back
    await bridge.start()
    stream = await bridge.streams.get()
    assert (await reported(stream, "terminated")).terminated.exit_code == 0
    assert said.read_text().splitlines() == ["up", "pre-stop", "stopped"]


async def test_restarts_go_on(bridge: GuestBridge, machine: Machine) -> None:
    ran = machine.directory / "ran"
    made = manifest("/bin/sh", "-c", f"echo $$ >>{ran}; exec sleep 1000")
    made.restart_policy = pb.RESTART_POLICY_ALWAYS
    agent = await begun(bridge, machine, made)
    first = int((await lines(ran, 1))[0])
    await bridge.stop()
    agent.kill()
    await agent.wait()
    os.kill(first, signal.SIGKILL)

    await machine.start()
    second = int((await lines(ran, 2))[1])
    await bridge.start()
    stream = await bridge.streams.get()
    assert stream.hello.manifest_revision == made.revision
    found = await reported(stream, "running")
    assert (found.restart_count, found.last_terminated.signal) == (1, signal.SIGKILL)
    os.kill(second, 0)


async def test_the_manifest_is_kept_in_memory_for_root(bridge: GuestBridge, machine: Machine) -> None:
    made = manifest("/bin/sleep", "1000")
    made.containers[0].env.add(name="PASSWORD", value="hunter-2")
    await begun(bridge, machine, made)
    kept = machine.directory / "run" / "manifest.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = [path for path in (machine.directory / "state").rglob("*") if path.is_file()]
    assert found
    assert not [path for path in found if b"hunter-2" in path.read_bytes()]


async def test_after_a_reboot_nothing_runs_until_the_bridge_says_what(bridge: GuestBridge, machine: Machine) -> None:
    ran = machine.directory / "ran"
    agent = await begun(bridge, machine, manifest("/bin/sh", "-c", f"echo ran >>{ran}; exec sleep 1000"))
    await lines(ran, 1)
    agent.kill()
    await agent.wait()
    kept = machine.directory / "run" / "manifest.json"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept.write_text(kept.read_text().replace(boot_id, "another boot of the kernel"))
    await machine.start()
    assert (await bridge.streams.get()).hello.manifest_revision == ""
