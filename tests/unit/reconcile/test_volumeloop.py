"""The disks' loop around the planner: errors, what claims are told of them, and the image catalogue."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubelet_bridge.errors import ApiUnavailable, BridgeError, Forbidden, Transient
from kubelet_bridge.model.snapshot import EventType
from kubelet_bridge.model.storage import DataVolume
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey
from kubelet_bridge.model.volumesnapshot import ImageOffer
from kubelet_bridge.reconcile.volumes.loop import VolumeLoop
from kubelet_bridge.reconcile.volumes.planner import IMAGE_WAIT
from kubelet_bridge.reconcile.volumes.ports import NO_CDI
from tests.properties.simulation import Crasher
from tests.properties.storageworld import NODE, Ports, World


class Troubled(Ports):
    """A cluster that does not make DataVolumes while it has ``trouble``."""

    trouble: Exception | None = None

    async def create_datavolume(self, namespace: str, manifest: dict[str, Any]) -> DataVolume:
        if self.trouble is not None:
            raise self.trouble
        return await super().create_datavolume(namespace, manifest)


class Catalogue:
    """Has one image, after it was asked twice."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.first = ImageOffer(trouble="nobody has it")

    async def offer(self, name: str, size: int) -> ImageOffer:
        assert size > 0
        self.asked.append(name)
        if len(self.asked) < 2:
            return self.first
        return ImageOffer({"sourceRef": {"kind": "DataSource", "name": "debian"}})


@pytest.fixture
def ports() -> Troubled:
    world = World()
    world.add_claim("data")
    return Troubled(world, dict[str, VolumeIntent](), Crasher())


def loop_of(ports: Ports, images: Catalogue | None = None) -> VolumeLoop:
    return VolumeLoop(ports, ports, ports, NODE, clock=ports.world.clock, images=images, workers=2, resync=0.05)


async def until(holds: Callable[[], bool], task: asyncio.Task[None]) -> None:
    """Wait for it, unless ``task`` ends."""
    while not holds():
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)


def key_of(ports: Ports) -> VolumeKey:
    return next(iter(ports.keys()))


@pytest.mark.parametrize(
    "trouble",
    [
        Forbidden(403, "Forbidden", "exceeded quota: small"), Transient("is CDI installed?", reason=NO_CDI),
        ApiUnavailable(500, "InternalError", "failed calling webhook"),
    ],
    ids=["quota", "no CDI", "CDI's webhook is away"],
)  # fmt: skip
async def test_what_a_user_can_mend_is_told_on_the_claim(ports: Troubled, trouble: BridgeError) -> None:
    ports.trouble = trouble
    with pytest.raises(BridgeError):
        await loop_of(ports).sync(key_of(ports))
    assert [(one.reason, one.message) for one in ports.events] == [("ProvisioningFailed", trouble.message)]


async def test_an_outage_is_not_told_on_the_claim(ports: Troubled) -> None:
    ports.trouble = ApiUnavailable(0, "Unavailable", "connection refused")
    with pytest.raises(ApiUnavailable):
        await loop_of(ports).sync(key_of(ports))
    assert ports.events == []


async def test_the_loop_outlives_errors_and_faults_and_serves_the_claim_in_the_end(ports: Troubled) -> None:
    loop, row = loop_of(ports), key_of(ports)
    task = asyncio.get_running_loop().create_task(loop.run())
    try:
        with capture_logs() as said:  # what prints tracebacks where nothing is configured reads files
            for trouble in (Transient("connection refused"), RuntimeError("a fault of ours")):
                ports.trouble = trouble
                before = len(said)
                await until(lambda before=before: len(said) > before, task)
            ports.trouble = None
            await until(lambda: f"pvc-{row.uid}" in ports.world.volumes, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {one["event"] for one in said} == {"disk not synced", "sync of a disk crashed"}
    assert ports.world.made == [row.uid]


async def test_how_long_a_claim_took_and_what_failed_is_observed(ports: Troubled) -> None:
    bound: list[float] = []
    failed: list[str] = []
    loop = VolumeLoop(
        ports, ports, ports, NODE, clock=ports.world.clock, observe_bound=bound.append,
        observe_failure=lambda: failed.append("once"),
    )  # fmt: skip
    key = key_of(ports)
    ports.trouble = Transient("connection refused")
    await loop._guarded(key)
    assert (bound, failed) == ([], ["once"])
    ports.trouble = None
    for _ in range(5):
        await loop.sync(key)
        ports.world.advance()
    assert bound == [1.0]  # the world's clock ticks at each advance
    assert failed == ["once"]


async def test_an_image_is_asked_for_until_it_can_be_had(ports: Troubled) -> None:
    ports.world.claims["data"]["metadata"]["annotations"][ANNOTATION_SOURCE] = "image:debian"
    catalogue = Catalogue()
    loop, key = loop_of(ports, catalogue), key_of(ports)
    assert await loop.sync(key)
    assert [one.message for one in ports.events] == ["nobody has it"]
    await loop.sync(key)
    assert catalogue.asked == ["debian"] * 2
    (made,) = ports.world.datavolumes.values()
    assert made["spec"]["sourceRef"]["name"] == "debian"


async def test_an_image_that_is_on_its_way_is_no_failure(ports: Troubled) -> None:
    ports.world.claims["data"]["metadata"]["annotations"][ANNOTATION_SOURCE] = "image:debian"
    catalogue = Catalogue()
    catalogue.first = ImageOffer(waiting="DataVolume debian ImportInProgress")
    loop, key = loop_of(ports, catalogue), key_of(ports)
    assert await loop.sync(key) == IMAGE_WAIT
    (event,) = ports.events
    assert (event.type, event.reason) == (EventType.NORMAL, "WaitingForImage")
    assert event.message.endswith("DataVolume debian ImportInProgress")
    assert not ports.world.datavolumes
    await loop.sync(key)
    assert len(ports.world.datavolumes) == 1


async def test_news_are_told_once(ports: Troubled) -> None:
    loop, key = loop_of(ports), key_of(ports)
    for _ in range(3):
        await loop.sync(key)
    ports.world.advance()
    for _ in range(3):
        await loop.sync(key)
    reasons = [one.reason for one in ports.events]
    assert reasons[:2] == ["Provisioning", "ProvisioningSucceeded"]
    assert reasons.count("DataVolumeProgress") == 1
