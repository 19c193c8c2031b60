"""Mode qemu: a VirtualMachine is a guest that really boots, says something, hears its power button, and can die."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from kubelet_bridge.devcluster import processes
from kubelet_bridge.devcluster.devhost.qemu import programs
from kubelet_bridge.devcluster.devhost.qemu.instance import Instance, recorded_names
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import VIRTUALMACHINEINSTANCEMIGRATIONS, VIRTUALMACHINES
from tests.support import tinyguest
from tests.support.bridge import Json, condition, eventually
from tests.support.devhost import NODE, OTHER, Site

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(150),
    pytest.mark.skipif(bool(programs.missing()), reason=f"not installed: {', '.join(programs.missing())}"),
]


@pytest.fixture(autouse=True)
async def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELET_BRIDGE_CACHE", str(tmp_path))
    await asyncio.to_thread(tinyguest.install)


@pytest.fixture
async def hosted(site: Site) -> AsyncIterator[Site]:
    async with site.host(mode="qemu"):
        yield site
        await site.clear()
        await eventually(lambda: _no_machines(site), "no machine left")


async def _no_machines(site: Site) -> bool:
    return not await asyncio.to_thread(recorded_names, site.cluster.layout)


async def _boot(site: Site) -> tuple[str, str]:
    """Name and uid of a guest that has greeted."""
    name = await site.vm(tinyguest.REFERENCE, run="Once")
    uid = str((await site.phase(name, "Running"))["metadata"]["uid"])
    await eventually(lambda: _said(site, uid, tinyguest.GREETING), "the guest's greeting", every=0.05)
    return name, uid


async def _said(site: Site, uid: str, wanted: bytes) -> bool:
    """Whether the log of a guest's console has it."""
    logs = await asyncio.to_thread(
        lambda: [log.read_bytes() for log in site.cluster.layout.logs.glob(f"*{uid}.console")]
    )
    return any(wanted in log for log in logs)


async def _hear(socket: aiohttp.ClientWebSocketResponse, wanted: bytes) -> None:
    heard = b""
    while wanted not in heard:
        message = await socket.receive(timeout=30)
        assert message.type is aiohttp.WSMsgType.BINARY, (message, heard)
        heard += message.data


async def _answers(site: Site, name: str) -> bool:
    """Whether the guest echoes what is typed; its host may not know it (yet)."""
    try:
        async with site.stream(name, "console") as console:
            await console.send_bytes(b"x")
            await _hear(console, b"x")
    except aiohttp.WSServerHandshakeError:
        return False
    return True


async def test_the_console_is_the_guests(hosted: Site) -> None:
    name, _ = await _boot(hosted)
    async with hosted.stream(name, "console") as console:
        await console.send_bytes(b"x")
        await _hear(console, b"x")
        await console.send_bytes(b"r")
        await _hear(console, tinyguest.GREETING)
        await console.send_bytes(b"q")
        await _hear(console, tinyguest.FAREWELL)
    await hosted.phase(name, "Succeeded")


async def test_the_power_button(hosted: Site) -> None:
    name, uid = await _boot(hosted)
    body = {"spec": {"runStrategy": "Halted"}}
    await hosted.client.patch(VIRTUALMACHINES, hosted.namespace, name, body, kind=PatchType.MERGE)
    await hosted.printable(name, "Stopped")
    assert await _said(hosted, uid, tinyguest.FAREWELL)


async def test_a_panic_is_a_failure(hosted: Site) -> None:
    name, _ = await _boot(hosted)
    async with hosted.stream(name, "console") as console:
        await console.send_bytes(b"p")
        await hosted.phase(name, "Failed")


async def test_a_killed_machine_is_a_failure(hosted: Site) -> None:
    name, _ = await _boot(hosted)
    (machine,) = await asyncio.to_thread(recorded_names, hosted.cluster.layout)
    process = await asyncio.to_thread(processes.recorded, hosted.cluster.layout, machine)
    assert process is not None
    await asyncio.to_thread(processes.stop, process, 0.0)
    await hosted.phase(name, "Failed")


async def test_pause_and_screen(hosted: Site) -> None:
    name, _ = await _boot(hosted)
    async with hosted.stream(name, "vnc") as screen:
        await _hear(screen, b"RFB 003.008\n")
    await hosted.act(name, "pause")
    await hosted.vmi(name, lambda vmi: condition(vmi, "Paused") == "True", "paused")
    await hosted.act(name, "unpause")
    await hosted.vmi(name, lambda vmi: condition(vmi, "Paused") is None, "going on")


async def test_an_image_that_is_not_here(hosted: Site) -> None:
    name = await hosted.vm("example.test/absent:1", run="Once")

    async def waiting() -> str | None:
        pods = await hosted.launchers(name)
        statuses = [one for pod in pods for one in (pod["status"].get("initContainerStatuses") or [])]
        statuses += [one for pod in pods for one in (pod["status"].get("containerStatuses") or [])]
        reasons = [(one["state"].get("waiting") or {}).get("reason") for one in statuses]
        return next((reason for reason in reasons if reason in ("ErrImagePull", "ImagePullBackOff")), None)

    assert await eventually(waiting, "a pull error", every=0.1)


async def test_a_guest_outlives_its_hosts_process(site: Site) -> None:
    async with site.host(mode="qemu"):
        name, uid = await _boot(site)
    async with site.host(mode="qemu"):
        await eventually(lambda: _answers(site, name), "the guest found again")
        assert (await site.phase(name, "Running"))["metadata"]["uid"] == uid
    async with site.host(mode="qemu"):
        await site.clear()
        await eventually(lambda: _no_machines(site), "no machine left")


async def test_how_it_ended_while_nobody_looked(site: Site) -> None:
    async with site.host(mode="qemu"):
        name, uid = await _boot(site)
    machine = Instance(site.cluster.layout, NODE, uid)
    reader, writer = await asyncio.open_unix_connection(str(machine.sockets / "serial"))
    writer.write(b"q")
    await reader.readuntil(tinyguest.FAREWELL)
    writer.close()
    async with site.host(mode="qemu"):
        await site.phase(name, "Succeeded")
        await site.clear()


async def test_a_guest_moves(site: Site) -> None:
    async with site.host(mode="qemu"), site.host(node=OTHER, mode="qemu"):
        name, _ = await _boot(site)
        before = await site.phase(name, "Running")
        # Of two launchers on a node KubeVirt takes the younger, and creation times are whole seconds.
        await asyncio.sleep(1.2)
        body = {
            "apiVersion": VIRTUALMACHINEINSTANCEMIGRATIONS.api_version, "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": f"{name}-move"}, "spec": {"vmiName": name},
        }  # fmt: skip
        await site.client.create(VIRTUALMACHINEINSTANCEMIGRATIONS, site.namespace, body)
        source = before["status"]["nodeName"]
        after: Json = await site.vmi(name, lambda vmi: vmi["status"]["nodeName"] != source, "elsewhere")
        assert after["status"]["nodeName"] == ({NODE, OTHER} - {source}).pop()
        async with site.stream(name, "console") as console:
            await console.send_bytes(b"x")
            await _hear(console, b"x")
            await console.send_bytes(b"q")
            await site.phase(name, "Succeeded")
        await site.clear()
        await eventually(lambda: _no_machines(site), "no machine left")
