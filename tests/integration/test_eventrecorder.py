"""Events on the real API server: counted instead of repeated, and not lost when it is away for a while."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.eventrecorder import EventRecorder
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.resources import EVENTS
from kubelet_bridge.model.snapshot import EventType, PodEvent
from tests.support.bridge import Json, decoded, eventually
from tests.support.proxy import Proxy, proxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(60)]

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Subject:
    def __init__(self, near: Client, far: Client, network: Proxy) -> None:
        self.far, self.network = far, network
        self.key = PodKey("default", f"told-{uuid.uuid4().hex[:8]}", str(uuid.uuid4()))
        self.dropped = 0
        self.recorder = EventRecorder(near, "vnode", clock=lambda: WHEN, dropped=self._drop)

    def _drop(self) -> None:
        self.dropped += 1

    def tell(self, *messages: str) -> None:
        self.recorder.record(self.key, [PodEvent(EventType.WARNING, "Failed", one) for one in messages])

    async def found(self) -> list[Json]:
        about = f"involvedObject.uid={self.key.uid}"
        items: list[Json] = decoded(await self.far.list(EVENTS, "default", field_selector=about))["items"]
        return items

    async def until(self, *counts: tuple[str, int]) -> list[Json]:
        async def same() -> list[Json] | None:
            found = await self.found()
            return found if sorted((one["message"], one["count"]) for one in found) == sorted(counts) else None

        found: list[Json] = await eventually(same, f"events {counts}", seconds=30)
        return found

    @asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self.recorder.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def subject(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Subject]:
    async with (
        proxy(dev_cluster.layout.kubeconfig("admin"), tmp_path) as (network, kubeconfig),
        Client(await credentials.load(kubeconfig)) as near,
    ):
        yield Subject(near, admin, network)


async def test_the_same_again_is_counted_ever_more_rarely(subject: Subject) -> None:
    async with subject.posting():
        subject.tell(*["again"] * 7, "once")
        (again,) = [one for one in await subject.until(("again", 4), ("once", 1)) if one["count"] == 4]
        assert (again["type"], again["reason"], again["source"]["component"]) == ("Warning", "Failed", "kubelet-bridge")
        assert again["lastTimestamp"] == "2026-01-02T03:04:05Z"
        subject.tell("again")
        await subject.until(("again", 8), ("once", 1))
    assert subject.network.count("POST") + subject.network.count("PATCH") == 5


async def test_an_event_that_was_removed_is_posted_anew(subject: Subject) -> None:
    async with subject.posting():
        subject.tell("again")
        (first,) = await subject.until(("again", 1))
        await subject.far.delete(EVENTS, "default", first["metadata"]["name"])
        subject.tell("again")
        (second,) = await subject.until(("again", 1))
        assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_events_wait_for_an_api_server_that_is_away(subject: Subject) -> None:
    subject.network.down = True
    async with subject.posting():
        subject.tell("a", "b")
        await eventually(lambda: _tried(subject.network, 3), "three tries")
        subject.network.down = False
        await subject.until(("a", 1), ("b", 1))
    assert subject.dropped == 0


async def test_an_event_that_nobody_takes_holds_up_no_other(subject: Subject) -> None:
    stranger = PodKey("no-such-namespace", subject.key.name, subject.key.uid)
    subject.recorder.record(stranger, [PodEvent(EventType.NORMAL, "Pulled", "lost")])
    async with subject.posting():
        subject.tell("a")
        await subject.until(("a", 1))
    assert subject.dropped == 1


async def _tried(network: Proxy, times: int) -> bool:
    return network.count("POST") >= times
