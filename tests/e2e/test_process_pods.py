"""Mode process: all that a Pod can be made of, and what it must survive, with the real agent and no hypervisor."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.devcluster.devhost.process import launch
from kubelet_bridge.devcluster.devhost.process.places import Places
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.model.resources import PODS, SECRETS, VIRTUALMACHINES
from tests.support import guestpods
from tests.support.bridge import Bridge, Json, World, condition, eventually
from tests.support.devhost import LABEL, NODE, Site
from tests.support.guestpods import named
from tests.support.keptlogs import counted, kept
from tests.support.post import post_office
from tests.support.relay import Relay, relay
from tests.unit.devcluster.test_devhost_process import allowed

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="not installed: busybox-static, which containers run here"),
]

SECONDS = 120.0
AGENT = "kubelet-bridge.io/GuestAgentConnected"


@pytest.fixture
async def wire(site: Site, world: World, bridge: Bridge) -> AsyncIterator[Relay]:
    """A host, a bridge, and what lies between it and guests."""
    address = bridge.cluster.state.node_address
    async with site.host(mode="process"), relay(address, bridge.guest_port) as one:
        bridge.arguments = ["--runtime-image", "example.test/runtime:1", "--guest-address", f"{address}:{one.port}"]
        await bridge.start()
        yield one
        if not bridge.alive:
            await bridge.start()
        for pod in await world.pods():
            await world.client.delete(PODS, world.namespace, pod["metadata"]["name"])
        await eventually(lambda: _none_left(site, world), "neither Pod nor guest is left", seconds=SECONDS)


async def _none_left(site: Site, world: World) -> bool:
    return not await world.pods() and not await asyncio.to_thread(lambda: [*_guests(site).glob("*/written")])


def _guests(site: Site) -> Path:
    return site.cluster.layout.directory / "guests" / NODE


def pod(world: World, spec: Json, **more: Any) -> Json:
    """A Pod on our host whose containers are commands on the OS there."""
    placed = {"nodeName": world.bridge.node, "nodeSelector": {LABEL: "true"}}
    body = world.pod("one", **placed, **spec, **more)
    for container in (*body["spec"].get("initContainers", []), *body["spec"]["containers"]):
        container["image"] = "containerdisk://example.test/os:1"
    return body


async def until(world: World, wanted: Any, what: str) -> Json:
    """The Pod once it is as ``wanted``."""

    async def check() -> Json | None:
        found = await world.get(PODS, "one")
        return found if found is not None and wanted(found) else None

    found: Json = await eventually(check, lambda: f"{what}; {world.bridge.tail()}", seconds=SECONDS)
    return found


async def counts_beyond(world: World, uid: str, number: int, attempt: int = 0) -> int:
    """How far ``count`` has come in the bridge's log once that is beyond ``number``."""

    async def check() -> int:
        reached = counted(await kept(world.bridge, uid, "count", attempt))
        return reached if reached > number else 0

    reached: int = await eventually(check, f"a count beyond {number}", seconds=SECONDS)
    return reached


async def test_all_that_a_pod_is_made_of(wire: Relay, world: World, bridge: Bridge) -> None:
    async with post_office(bridge.cluster.state.node_address) as post:
        await world.create(SECRETS, guestpods.SETTINGS)
        made = await world.create(PODS, pod(world, guestpods.whole(post.url, free_port())))
        looping = await until(world, _is_looping, "crasher in CrashLoopBackOff")
        assert [word for word in post.said if word in guestpods.ORDER] == guestpods.ORDER
        crasher = named(looping, "crasher")
        assert crasher["restartCount"] >= 1
        end = crasher["lastState"]["terminated"]
        assert (end["exitCode"], end["message"].strip()) == (7, "because")
        assert named(looping, "main")["ready"] is False
        assert named(looping, "sidecar")["ready"] is True
        post.allow("ready")
        ready = await until(world, lambda pod: named(pod, "main").get("ready"), "main ready")
        assert named(ready, "main")["restartCount"] == 0
        lines = await kept(bridge, made["metadata"]["uid"], "main")
        assert lines[:4] == ["first", "sidecar", "second", "password hunter2"]
        assert " /fast tmpfs " in lines[4]
        await world.client.delete(PODS, world.namespace, "one")
        await world.gone(PODS, "one", seconds=SECONDS)
        assert [word for word in post.said if word in guestpods.END] == guestpods.END
    assert not await world.vms()


def _is_looping(pod: Json) -> bool:
    crasher = named(pod, "crasher").get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    return crasher and "running" in named(pod, "main").get("state", {})


async def test_nothing_restarts_while_plugs_are_pulled(wire: Relay, site: Site, world: World, bridge: Bridge) -> None:
    async with _counting(world, bridge) as (made, allow):
        uid = made["metadata"]["uid"]
        reached = await counts_beyond(world, uid, 3)
        before = guestpods.lives(await until(world, lambda pod: len(guestpods.lives(pod)) == 2, "two running"))

        for agent in await asyncio.to_thread(_agents, site):
            os.kill(agent, signal.SIGKILL)
        reached = await counts_beyond(world, uid, reached + 20)

        await bridge.kill()
        allow("end")  # it ends while nobody looks
        await asyncio.sleep(5)
        await bridge.start()
        ended = await until(world, lambda pod: "terminated" in named(pod, "brief")["state"], "brief ended")
        assert named(ended, "brief")["state"]["terminated"]["exitCode"] == 5
        reached = await counts_beyond(world, uid, reached)

        wire.cut()
        await until(world, lambda pod: condition(pod, AGENT) == "False", "the bridge missing its agent")
        wire.mend()
        await until(world, lambda pod: condition(pod, AGENT) == "True", "the agent back")
        reached = await counts_beyond(world, uid, reached + 20)

        assert await bridge.stop() == 0
        await asyncio.sleep(5)
        await bridge.start()
        await counts_beyond(world, uid, reached + 20)
        after = await until(world, lambda pod: condition(pod, AGENT) == "True", "the agent back")
        assert guestpods.lives(after)["count"] == before["count"]
        brief = named(after, "brief")
        assert (brief["state"]["terminated"]["exitCode"], brief["restartCount"]) == (5, 0)
        assert brief["containerID"] == before["brief"][0]
        assert after["status"]["phase"] == "Running"


def _agents(site: Site) -> list[int]:
    """The pids of every guest's agent."""
    firsts = [Places(one).remembered() for one in _guests(site).iterdir()]
    below = [pid for first in firsts if first is not None for pid in launch.descendants(first.pid)]
    found = [pid for pid in below if b"current.pyz\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert found
    return found


@asynccontextmanager
async def _counting(world: World, bridge: Bridge, **spec: Any) -> AsyncIterator[tuple[Json, Any]]:
    async with post_office(bridge.cluster.state.node_address) as post:
        brief = guestpods.shell("brief", f"{guestpods.wait_for(post.url, 'end')}; exit 5")
        containers = [guestpods.shell("count", guestpods.COUNT), brief]
        body = pod(world, {"containers": containers, "restartPolicy": "Never", **spec})
        yield await world.create(PODS, body), post.allow


async def test_a_reboot_restarts_each_container_once(wire: Relay, site: Site, world: World, bridge: Bridge) -> None:
    containers = [guestpods.shell("count", guestpods.COUNT)]
    made = await world.create(PODS, pod(world, {"containers": containers}))
    uid = made["metadata"]["uid"]
    await counts_beyond(world, uid, 3)
    vm = (await world.find(VIRTUALMACHINES))[0]["metadata"]
    await Site(site.cluster, site.client, world.namespace).act(vm["name"], "softreboot")
    after = await until(world, lambda pod: named(pod, "count").get("restartCount"), "a restart")
    await counts_beyond(world, uid, 3, attempt=1)
    after = await until(world, lambda pod: "running" in named(pod, "count")["state"], "it running")
    count = named(after, "count")
    assert count["restartCount"] == 1
    assert count["lastState"]["terminated"]["exitCode"] == 143
    assert counted(await kept(bridge, uid, "count", 0)) > 3
