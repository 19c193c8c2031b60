"""What a Pod uses, as those who scale and look at it read it: through the API server, from real processes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubelet_bridge.model.resources import PODS
from kubelet_bridge.translate.annotations import CONTAINERS
from tests.support import metricsserver
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.devhost import LABEL, NODE, Site
from tests.support.guestpods import shell
from tests.support.metricsserver import Point
from tests.unit.devcluster.test_devhost_process import allowed

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
]

SECONDS = 90.0
OS = "containerdisk://example.test/os:1"


@asynccontextmanager
async def hosted(site: Site, world: World, bridge: Bridge, *arguments: str) -> AsyncIterator[None]:
    async with site.host(mode="process"):
        bridge.arguments = ["--runtime-image", "example.test/runtime:1", *arguments]
        await bridge.start()
        try:
            yield
        finally:
            for pod in await world.pods():
                await world.client.delete(PODS, world.namespace, pod["metadata"]["name"])
            await eventually(lambda: _none_left(site), "no process of a guest is left", seconds=SECONDS)


async def _none_left(site: Site) -> bool:
    guests = site.cluster.layout.directory / "guests" / NODE
    return not await asyncio.to_thread(lambda: [*Path(guests).glob("*/written")])


async def scrape(world: World, path: str) -> bytes:
    """As ``kubectl get --raw`` does."""
    return await world.client.request("GET", f"/api/v1/nodes/{world.bridge.node}/proxy/{path}")


async def points(world: World) -> dict[str, Point]:
    """What metrics-server finds of the Pod, by container."""
    batch = metricsserver.decode(await scrape(world, "metrics/resource"))
    return batch.pods.get((world.namespace, "one"), {})


async def found(world: World, *containers: str, after: float = 0.0) -> dict[str, Point]:
    """The figures once there are those of all containers, of a later moment than ``after``."""

    async def check() -> dict[str, Point] | None:
        one = await points(world)
        return one if {*containers} == one.keys() and all(point.at > after for point in one.values()) else None

    result: dict[str, Point] = await eventually(
        check, lambda: f"figures of {containers}; {world.bridge.tail()}", seconds=SECONDS
    )
    return result


def placed(world: World, *containers: Json) -> Json:
    body = world.pod("one", nodeName=world.bridge.node, nodeSelector={LABEL: "true"}, containers=[*containers])
    for container in containers:
        container["image"] = OS
    return body


async def test_each_container_has_its_own_figures(site: Site, world: World, bridge: Bridge) -> None:
    async with hosted(site, world, bridge):
        busy = shell("busy", "while :; do :; done", resources={"limits": {"memory": "64Mi"}})
        made = await world.create(PODS, placed(world, busy, shell("idle", "exec sleep 1000")))
        storage = metricsserver.Storage()
        first = await found(world, "busy", "idle")
        await _store(world, storage)
        second = await found(world, "busy", "idle", after=max(one.at for one in first.values()))
        await _store(world, storage)
        assert second["busy"].start == first["busy"].start
        used = storage.pod(world.namespace, "one")
        assert used is not None, (first, second, storage)
        assert used["busy"] > 0.05 > used["idle"]
        await _is_summarised(world, made["metadata"]["uid"])
        await _is_exposed(world)

        await bridge.kill()
        await bridge.start()
        third = await found(world, "busy", "idle", after=second["busy"].at)
        assert third["busy"].start == second["busy"].start
        assert third["busy"].cpu > second["busy"].cpu


async def _store(world: World, storage: metricsserver.Storage) -> None:
    storage.store(metricsserver.decode(await scrape(world, "metrics/resource")))


async def _is_summarised(world: World, uid: str) -> None:
    summary = json.loads(await scrape(world, "stats/summary"))
    assert summary["node"]["nodeName"] == world.bridge.node
    assert {"cpu", "memory", "network", "fs"} <= summary["node"].keys()
    (pod,) = (one for one in summary["pods"] if one["podRef"]["uid"] == uid)
    containers = {one["name"]: one for one in pod["containers"]}
    assert containers["busy"]["cpu"]["usageNanoCores"] > containers["idle"]["cpu"]["usageNanoCores"]
    assert containers["busy"]["memory"]["workingSetBytes"] > 0
    assert pod["network"]["interfaces"]
    brief = json.loads(await scrape(world, "stats/summary?only_cpu_and_memory=true"))
    assert "fs" not in brief["node"]


async def _is_exposed(world: World) -> None:
    families = {
        one.name: one for one in text_string_to_metric_families((await scrape(world, "metrics/cadvisor")).decode())
    }
    cpu = families["container_cpu_usage_seconds"].samples
    ours = {one.labels["container"]: one for one in cpu if one.labels["namespace"] == world.namespace}
    assert {*ours} == {"", "busy", "idle"}
    assert ours["busy"].labels["image"] == OS
    for name in ("probes", "slis"):
        assert list(text_string_to_metric_families((await scrape(world, f"metrics/{name}")).decode()))


async def test_another_run_of_a_container_begins_at_zero(site: Site, world: World, bridge: Bridge) -> None:
    async with hosted(site, world, bridge):
        script = "n=0; while [ $n -lt 400000 ]; do n=$((n+1)); done; sleep 20; exit 1"
        await world.create(PODS, placed(world, shell("brief", script)))
        first = (await found(world, "brief"))["brief"]

        async def again() -> Point | None:
            one = (await points(world)).get("brief")
            return one if one is not None and one.start > first.start else None

        second = await eventually(again, lambda: f"another run; {bridge.tail()}", seconds=SECONDS)
        assert second.at > second.start > first.at - 20
        assert second.cpu > 0


async def test_a_vm_without_an_agent_has_kubevirts_figures(site: Site, world: World, bridge: Bridge) -> None:
    async with hosted(site, world, bridge, "--guest-listen", "", "--kubevirt-metrics-seconds", "1"):
        machine: Json = {"name": "machine", "resources": {"limits": {"memory": "64Mi"}}}
        pod = placed(world, machine)
        await world.create(PODS, pod)
        await world.ready("one")
        first = (await found(world, "machine"))["machine"]
        second = (await found(world, "machine", after=first.at))["machine"]
        assert second.start == first.start
        assert second.cpu >= first.cpu
        assert second.memory > 0


async def test_a_container_with_a_vm_of_its_own_has_that_vms_figures(site: Site, world: World, bridge: Bridge) -> None:
    async with hosted(site, world, bridge):
        pod = placed(world, shell("busy", "while :; do :; done"), shell("idle", "exec sleep 1000"))
        pod["metadata"]["annotations"] = {CONTAINERS: "vm-per-container"}
        await world.create(PODS, pod)
        first = await found(world, "busy", "idle")
        second = await found(world, "busy", "idle", after=max(one.at for one in first.values()))
        assert second["busy"].cpu - first["busy"].cpu > second["idle"].cpu - first["idle"].cpu
        interfaces = json.loads(await scrape(world, "stats/summary"))["pods"][0]["network"]["interfaces"]
        assert {one["name"].partition("/")[0] for one in interfaces} == {"busy", "idle"}
