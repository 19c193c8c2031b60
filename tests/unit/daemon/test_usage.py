"""The node's meter: what is on the disk, and what a Pod's versions cost."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.daemon import usage
from kubelet_bridge.daemon.ownusage import own_usage
from kubelet_bridge.daemon.usage import Capacity, NodeMeter, capacity
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kubelet_api.stats.volumes import VolumeCollector
from kubelet_bridge.model.core import Node, Pod
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.model.usage import FilesystemSample, NodeUsage
from kubelet_bridge.telemetry.metrics import Metrics
from tests.support.usage import SECOND, at, container, key_of, pod, sample

WEB = pod("web", "app")


def cached(one: Pod) -> Cached:
    return Cached(ObjectHead(one.metadata), msgspec.json.encode(one))


async def scraped(meter: NodeMeter) -> NodeUsage:
    return await asyncio.to_thread(meter.freeze())


class Site:
    """A meter, its directory and its Pods."""

    def __init__(self, directory: Path) -> None:
        self.pods = [cached(WEB)]
        self.now = at(2)
        self.directory = directory

    def meter(self) -> NodeMeter:
        return NodeMeter(
            "node", self.directory, pods=lambda: self.pods, alive=lambda: {one.head.uid for one in self.pods},
            capacity=lambda: Capacity(4, 2**30), wall_clock=lambda: self.now,
        )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "state")


async def test_what_was_counted_survives(site: Site) -> None:
    async with site.meter() as meter:
        meter.record(key_of(WEB), sample(1, 9, epoch="boot-1"))
    async with site.meter() as meter:
        meter.record(key_of(WEB), sample(1, 2, container("app", 1), epoch="boot-2"))
        node = await scraped(meter)
    assert node.pods[0].figures is not None
    assert node.pods[0].figures.cpu == 11 * SECOND
    assert (node.cores, node.memory) == (4, 2**30)


@pytest.mark.parametrize("left", [b"", b"{}", b"\xff", b"[1]"])
async def test_what_cannot_be_read_is_begun_anew(site: Site, left: bytes) -> None:
    site.directory.mkdir()
    (site.directory / "usage.json").write_bytes(left)
    async with site.meter() as meter:
        meter.record(key_of(WEB), sample(1, 9))
        assert (await scraped(meter)).figures.cpu == 9 * SECOND


async def test_only_a_pod_that_has_changed_is_decoded_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def noted(one: Pod) -> object:
        decoded.append(one.metadata.name)
        return pod_facts(one)

    pod_facts = usage.pod_facts
    monkeypatch.setattr(usage, "pod_facts", noted)
    other = pod("other", "app")
    async with site.meter() as meter:
        for pods in ([WEB], [WEB, other], [WEB]):
            known = {one.head.uid: one for one in site.pods}
            site.pods = [known.get(one.metadata.uid) or cached(one) for one in pods]
            assert len((await scraped(meter)).pods) == len(pods)
        site.pods = [cached(WEB)]
        await scraped(meter)
    assert decoded == ["web", "other", "web"]


async def test_the_disk_is_our_own(site: Site, tmp_path: Path) -> None:
    site.directory.mkdir()
    async with site.meter() as meter:
        disk = (await scraped(meter)).disk
    assert disk is not None
    assert disk.total >= disk.available > 0


def test_this_process_uses_something() -> None:
    found = own_usage()
    assert min(found.cpu or 0, found.memory or 0, found.working_set or 0, found.rss or 0, found.processes or 0) > 0


def test_capacity_is_the_nodes() -> None:
    node = msgspec.convert({"status": {"capacity": {"cpu": "3500m", "memory": "2Gi"}}}, Node)
    assert capacity(node) == Capacity(4, 2 * 2**30)
    assert capacity(msgspec.convert({"status": {"capacity": {"cpu": "many"}}}, Node)) == Capacity()


async def test_how_full_claims_are(site: Site) -> None:
    """By the names of a kubelet; of a claim whose machine tells nothing there is nothing."""
    metrics = Metrics()
    site.pods.append(cached(pod("bare", "app", namespace="other")))
    disk = FilesystemSample("/dev/vdb", "/data", 100, 40, 10, 3)
    async with site.meter() as meter:
        metrics.add(VolumeCollector(meter.freeze_claims))
        meter.record(key_of(WEB), sample(1, 9, filesystems=(disk,)))
        text, _ = await metrics.scrape()
    found = [line for line in text.decode().splitlines() if line.startswith("kubelet_volume_stats")]
    labels = '{namespace="shop",persistentvolumeclaim="web-data"}'
    assert found == [
        f"kubelet_volume_stats_{name}{labels} {value}.0"
        for name, value in (
            ("capacity_bytes", 100), ("available_bytes", 60), ("used_bytes", 40), ("inodes", 10), ("inodes_free", 7),
            ("inodes_used", 3),
        )
    ]  # fmt: skip
