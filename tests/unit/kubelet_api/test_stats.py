"""The stats endpoints over the real server."""

import asyncio
import json
import time
from functools import partial

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubelet_bridge.kubelet_api.stats import cadvisor, resource
from kubelet_bridge.model.usage import FilesystemSample, NodeUsage
from tests.support import metricsserver
from tests.support.kubelet_endpoint import FULL, Serving, World
from tests.support.usage import Metered, container, pod, sample

WEB = pod("web", "app")
HEADERS = {"Authorization": f"Bearer {FULL}"}
METRICS = ("resource", "cadvisor", "probes", "slis")


def metered(seconds: float = 1.0) -> Metered:
    found = Metered(WEB)
    found.take(WEB, sample(seconds, 10 + seconds, container("app", seconds)))
    return found


async def summary_of(world: World, method: str, query: str = "", body: str | None = None) -> dict[str, object]:
    headers = HEADERS | ({"Content-Type": "application/x-www-form-urlencoded"} if body else {})
    async with (
        world.client() as session,
        session.request(method, world.url(f"/stats/summary{query}"), headers=headers, data=body) as response,
    ):
        assert (response.status, response.content_type) == (200, "application/json")
        found: dict[str, object] = json.loads(await response.read())
        return found


@pytest.mark.parametrize("name", METRICS)
async def test_metrics_are_prometheus_text(serving: Serving, name: str) -> None:
    async with serving() as world, world.client() as session:
        world.collect = partial(metered().node, 2)
        async with session.get(world.url(f"/metrics/{name}"), headers=HEADERS) as response:
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert list(text_string_to_metric_families(await response.text()))


def test_no_series_is_there_twice() -> None:
    """Two machines of a Pod may have devices of one name, and a guest may tell of an interface twice."""
    disks = tuple(FilesystemSample("/dev/vdb", f"/run/volumes/{name}", 100, 7, 10, 2) for name in ("data", "tmp"))
    told = sample(1, 10, container("app", 1), filesystems=disks)
    node = Metered(WEB)
    node.take(WEB, msgspec.structs.replace(told, interfaces=told.interfaces * 2))
    for encode in (cadvisor.encode, resource.encode):
        families = text_string_to_metric_families(encode(node.node(2)).decode())
        series = [(one.name, *sorted(one.labels.items())) for family in families for one in family.samples]
        assert len(series) == len(set(series))
        if encode is cadvisor.encode:
            devices = {dict(labels)["device"] for name, *labels in series if name == "container_fs_usage_bytes"}
            assert devices == {"", "/dev/vdb", "tmp:/dev/vdb"}


async def test_metrics_server_makes_usage_of_two_scrapes(serving: Serving) -> None:
    async with serving() as world:
        node, storage = metered(31), metricsserver.Storage()
        for seconds in (32, 47):
            if seconds == 47:
                node.take(WEB, sample(46, 44.5, container("app", 34.75)))
            world.collect = partial(node.node, seconds)
            status, text = await world.get("/metrics/resource", token=FULL)
            assert status == 200
            storage.store(metricsserver.decode(text.encode()))
        assert storage.pod("shop", "web") == {"app": pytest.approx(0.25)}
        assert storage.node() == pytest.approx(3.5 / 15)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_summary_is_whole_or_brief(serving: Serving, method: str) -> None:
    async with serving() as world:
        world.collect = partial(metered().node, 2)
        whole = await summary_of(world, method)
        brief = await summary_of(world, method, "?only_cpu_and_memory=true")
    assert "fs" in whole["node"]  # type: ignore[operator]
    assert "fs" not in brief["node"]  # type: ignore[operator]


async def test_a_form_may_ask_for_a_brief_summary(serving: Serving) -> None:
    async with serving() as world:
        brief = await summary_of(world, "POST", body="only_cpu_and_memory=true")
        contradicted = await summary_of(world, "POST", "?only_cpu_and_memory=false", "only_cpu_and_memory=true")
    assert "fs" not in brief["node"]  # type: ignore[operator]
    assert "fs" in contradicted["node"]  # type: ignore[operator]


async def test_a_form_of_any_bytes_is_read(serving: Serving) -> None:
    kind = f"application/x-www-form-urlencoded; charset=klingon{';a=b' * 7000}"  # parsed, this takes seconds
    async with serving() as world, world.client() as session:
        for body in (b"x=\xff\xfe&only_cpu_and_memory=true", b"x=%ff&=&&only_cpu_and_memory=true"):
            headers = HEADERS | {"Content-Type": kind}
            async with session.post(world.url("/stats/summary"), headers=headers, data=body) as answer:
                assert answer.status == 200
                assert "fs" not in (await answer.json())["node"]


async def test_a_body_that_is_no_form_is_not_looked_at(serving: Serving) -> None:
    async with serving() as world, world.client() as session:
        for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", "a/b" + "(" * 30_000, ";;;"):
            headers = HEADERS | {"Content-Type": kind}
            async with session.post(
                world.url("/stats/summary"), headers=headers, data=b"only_cpu_and_memory=true"
            ) as answer:
                assert answer.status == 200
                assert "fs" in (await answer.json())["node"]


async def test_a_scrape_checks_health(serving: Serving) -> None:
    async with serving() as world:
        first = (await world.get("/metrics/slis", token=FULL))[1]
        world.unhealthy = "stuck"
        second = (await world.get("/metrics/slis", token=FULL))[1]
    assert 'kubernetes_healthcheck{name="syncloop",type="healthz"} 1\n' in first
    assert 'kubernetes_healthcheck{name="syncloop",type="healthz"} 0\n' in second
    assert 'kubernetes_healthchecks_total{name="syncloop",status="error",type="healthz"} 1\n' in second
    assert 'kubernetes_healthchecks_total{name="syncloop",status="success",type="healthz"} 1\n' in second


async def test_figures_are_taken_one_scrape_at_a_time(serving: Serving) -> None:
    """Whoever scrapes without end keeps one thread busy, not all."""
    node, running, most = metered().node(2), 0, 0

    def collect() -> NodeUsage:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return node

    async with serving() as world, world.client() as session:
        world.collect = collect

        async def scrape() -> int:
            async with session.get(world.url("/metrics/cadvisor"), headers=HEADERS) as response:
                return response.status

        assert await asyncio.gather(*(scrape() for _ in range(8))) == [200] * 8
    assert most == 1
