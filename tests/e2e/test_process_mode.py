"""Mode process: the whole way of a Pod's command through the bridge, KubeVirt, the dev host and the real agent."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.devhost import LABEL, NODE, Site
from tests.unit.devcluster.test_devhost_process import allowed

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
]


@pytest.fixture
async def hosted(site: Site, world: World, bridge: Bridge) -> AsyncIterator[World]:
    async with site.host(mode="process"):
        bridge.arguments = ["--runtime-image", "example.test/runtime:1"]
        await bridge.start()
        yield world
        for pod in await world.pods():
            await world.client.delete(PODS, world.namespace, pod["metadata"]["name"])
        await eventually(lambda: _all_gone(site), "no process of a guest is left")


async def _all_gone(site: Site) -> bool:
    return not await asyncio.to_thread(lambda: [*_guests(site).glob("*/written")])


def _guests(site: Site) -> Path:
    return site.cluster.layout.directory / "guests" / NODE


def command(world: World, script: str, *, image: str = "containerdisk://example.test/os:1", **spec: Any) -> Json:
    """A Pod whose one container runs ``script`` in a machine on our host."""
    container = {
        "image": image,
        "command": ["sh", "-c", script],
        "env": [{"name": "WORDS", "value": "it's $(HOME) two"}],
    }
    placed = {"nodeName": world.bridge.node, "nodeSelector": {LABEL: "true"}}
    return world.pod("one", container=container, **placed, **spec)


def state(pod: Json) -> Json:
    found: Json = pod["status"]["containerStatuses"][0]
    return found


@pytest.mark.parametrize("image", ["containerdisk://example.test/os:1", "example.test/application:1"])
async def test_a_command_runs_and_its_exit_code_is_the_pods(hosted: World, image: str) -> None:
    script = 'sleep 3; if [ "$WORDS" = "it\'s \\$(HOME) two" ]; then exit 3; else exit 1; fi'
    await hosted.create(PODS, command(hosted, script, image=image, restartPolicy="Never"))
    running = state(await hosted.ready("one"))
    assert running["state"]["running"]["startedAt"]
    ended = state(await hosted.phase("one", "Failed"))
    assert ended["state"]["terminated"]["exitCode"] == 3
    assert ended["containerID"] == running["containerID"]


async def test_a_command_is_stopped_by_its_signal(hosted: World) -> None:
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"
    await hosted.create(PODS, command(hosted, script))
    await hosted.ready("one")
    await hosted.client.delete(PODS, hosted.namespace, "one")
    await hosted.gone(PODS, "one")


async def test_a_failing_command_is_started_again(hosted: World) -> None:
    await hosted.create(PODS, command(hosted, "sleep 1; exit 4", restartPolicy="Always"))

    async def restarted() -> Json | None:
        pod = await hosted.get(PODS, "one")
        return pod if pod and pod["status"].get("containerStatuses") and state(pod)["restartCount"] else None

    pod = await eventually(restarted, lambda: f"a restart; {hosted.bridge.tail()}")
    assert state(pod)["lastState"]["terminated"]["exitCode"] == 4
