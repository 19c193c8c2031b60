"""The catalogue follows the cluster's ConfigMap, and never falls back on what the cluster has replaced."""

import asyncio
from typing import Any, cast

import msgspec
import structlog

from kubelet_bridge.daemon.imagecatalogue import ImageCatalogue
from kubelet_bridge.errors import ApiUnavailable, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import Resource
from kubelet_bridge.settings import Settings
from kubelet_bridge.translate.config import ImageDisks
from tests.support.catalogue import CATALOGUE

OWN = "packaged: false\nimages: [{name: own-1, minimumDisk: 1Gi}]"


class Api:
    """One ConfigMap, or none, or no answer."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.away = False
        self.second_read: asyncio.Event | None = None
        self._reads = 0

    async def get(self, _resource: Resource, namespace: str, name: str) -> bytes:
        assert (namespace, name) == ("kb", "kubelet-bridge-images")
        self._reads += 1
        if self._reads > 1 and self.second_read is not None:
            await self.second_read.wait()
        if self.away:
            raise ApiUnavailable(0, "Unreachable", "no answer")
        if self.text is None:
            raise NotFound(404, "NotFound", name)
        return msgspec.json.encode({"data": {"images.yaml": self.text}})


class Subject:
    def __init__(self, **settings: Any) -> None:
        self.api, self.told = Api(), list[ImageDisks]()
        self.catalogue = ImageCatalogue(cast(Client, self.api), Settings(namespace="kb", **settings), self.told.append)

    async def refreshed(self) -> ImageDisks:
        with structlog.testing.capture_logs():
            await self.catalogue.refresh()
            return await self.catalogue.current()


async def test_without_a_config_map_it_is_what_is_packaged() -> None:
    disks = await Subject(images_ready_made_in=" a, b,").refreshed()
    assert (disks.catalogue, disks.namespace, disks.trouble) == (CATALOGUE, "kb", "")
    assert disks.ready_made_in == ("a", "b")


async def test_it_follows_the_config_map_and_tells_of_changes_only() -> None:
    subject = Subject(images_namespace="golden", images_storage_class="fast")
    assert len((await subject.refreshed()).catalogue.images) > 1
    subject.api.text = OWN
    disks = await subject.refreshed()
    assert (list(disks.catalogue.images), disks.namespace, disks.storage_class) == (["own-1"], "golden", "fast")
    await subject.refreshed()
    subject.api.text = None
    assert (await subject.refreshed()).catalogue == CATALOGUE
    assert len(subject.told) == 2


async def test_a_fault_keeps_the_last_good_one_and_is_told_until_it_is_mended() -> None:
    subject = Subject()
    subject.api.text = OWN
    await subject.refreshed()
    subject.api.text = "images: [{name: own-2}]"
    broken = await subject.refreshed()
    assert list(broken.catalogue.images) == ["own-1"]
    assert broken.trouble.startswith("ConfigMap kb/kubelet-bridge-images: images[0]: Object missing required field")
    assert subject.told[-1] == broken
    subject.api.text = OWN
    assert (await subject.refreshed()).trouble == ""


async def test_one_that_cannot_be_read_is_no_reason_to_use_what_is_packaged() -> None:
    subject = Subject()
    subject.api.away = True
    assert "no answer" in (await subject.refreshed()).trouble
    subject.api.away = False
    subject.api.text = OWN
    disks = await subject.refreshed()
    assert (list(disks.catalogue.images), disks.trouble) == (["own-1"], "")


async def test_none_is_read_where_none_is_named() -> None:
    subject = Subject(images_config_map="")
    subject.api.away = True
    assert (await subject.refreshed()).trouble == ""


async def test_two_that_ask_first_both_get_what_the_config_map_says() -> None:
    subject = Subject()
    subject.api.text, subject.api.second_read = OWN, asyncio.Event()
    with structlog.testing.capture_logs():
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(subject.catalogue.current()) for _ in range(2)]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            subject.api.second_read.set()
        found = [*(one.result() for one in asking), await subject.catalogue.current()]
    assert [list(one.catalogue.images) for one in found] == [["own-1"]] * 3
