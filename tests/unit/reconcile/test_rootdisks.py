"""The disk that a VM boots from, made through a cluster of DataVolumes that answers when it likes."""

import asyncio
from typing import cast

import msgspec
import pytest

from kubelet_bridge.errors import ApiError, NotFound, Transient
from kubelet_bridge.model.catalogue import DataSourceSource
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Disk, RootDisk
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.reconcile.actions import MakeRootDisk
from kubelet_bridge.reconcile.goldenplanner import NoGoldenImage
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.reconcile.rootdisks import prepare
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.image import BootImage, ImageKind
from kubelet_bridge.translate.support import CannotTranslate, Refusal
from tests.support.catalogue import CATALOGUE
from tests.support.goldencluster import DISKS, Cluster
from tests.support.pods import pod

BOOT = BootImage(ImageKind.CATALOGUE, "debian-12", CATALOGUE.images["debian-12"])
URL = BootImage(ImageKind.HTTP, "https://a.example/x")


def step(boot: BootImage = BOOT) -> MakeRootDisk:
    return MakeRootDisk(boot, DISKS, "kubelet-bridge")


def key_of(of: Pod) -> PodKey:
    return PodKey(of.metadata.namespace, of.metadata.name, of.metadata.uid)


async def made(cluster: Cluster, of: Pod, boot: BootImage = BOOT) -> RootDisk:
    return await prepare(cast("ClusterPort", cluster), of, key_of(of), step(boot))


async def until_made(cluster: Cluster, of: Pod) -> None:
    """As the loop does: again, after a failure or a wait."""
    while True:
        try:
            if (await made(cluster, of)).made:
                return
        except Transient:
            pass
        await asyncio.sleep(0)


async def test_first_the_image_then_the_clone() -> None:
    cluster = Cluster()
    begun = await made(cluster, pod())
    assert not begun.made
    assert begun.words.startswith("golden image debian-12-generic-amd64-qcow2-")
    waiting = await made(cluster, pod())
    assert waiting.words.endswith("ImportInProgress 42.50%")
    assert len(cluster.posted) == 1
    cluster.finish()
    assert await made(cluster, pod()) == RootDisk(made=True)
    assert await made(cluster, pod()) == RootDisk(made=True)
    assert len(cluster.posted) == 2


async def test_many_pods_at_once_import_once_though_answers_are_lost() -> None:
    cluster = Cluster()
    cluster.lost = 20
    pods = [pod(name=f"web-{index}", uid=f"uid-{index}") for index in range(50)]

    async def importer() -> None:
        while not cluster.goldens():
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        cluster.finish()

    async with asyncio.TaskGroup() as group:
        group.create_task(importer())
        for one in pods:
            group.create_task(until_made(cluster, one))
    assert len(cluster.goldens()) == 1
    assert sorted(cluster.posted) == sorted({*cluster.posted})
    assert len(cluster.posted) == 51


async def test_an_image_at_a_url_is_fetched_into_the_pods_own_namespace() -> None:
    cluster = Cluster()
    assert await made(cluster, pod(), URL) == RootDisk(made=True)
    assert cluster.posted == [f"shop/{rootdisk.name(key_of(pod()), URL)}"]


async def test_a_strangers_disk_of_that_name_is_not_booted() -> None:
    cluster = Cluster()
    name = rootdisk.name(key_of(pod()), BOOT)
    cluster.disks["shop", name] = Disk(namespace="shop", name=name, ready=True)
    with pytest.raises(NoGoldenImage, match=f"shop/{name} is in the way"):
        await made(cluster, pod())


async def test_a_disk_that_is_going_is_waited_for() -> None:
    cluster = Cluster()
    await made(cluster, pod(), URL)
    (place,) = cluster.disks
    cluster.disks[place] = msgspec.structs.replace(cluster.disks[place], deleting=True)
    assert not (await made(cluster, pod(), URL)).made


WINDOWS = msgspec.structs.replace(
    CATALOGUE.images["windows-11"], minimum_disk=0, source=DataSourceSource("images", "win")
)


async def test_less_than_a_data_source_has_is_refused_with_the_field_that_asks_for_it() -> None:
    cluster, boot = Cluster(), BootImage(ImageKind.CATALOGUE, "windows-11", WINDOWS)
    cluster.sizes["win"] = 40 * 2**30
    asking = pod(annotations={"kubelet-bridge.io/root-disk-size": "30Gi"})
    with pytest.raises(CannotTranslate) as refused:
        await made(cluster, asking, boot)
    field = "metadata.annotations[kubelet-bridge.io/root-disk-size]"
    reason = "30Gi is smaller than windows-11 (images/win), which needs a disk of 40Gi"
    assert refused.value.refusals == [Refusal(field, reason)]
    assert cluster.posted == []
    cluster.sizes["win"] = 30 * 2**30
    assert await made(cluster, asking, boot) == RootDisk(made=True)
    (disk,) = cluster.disks.values()
    assert disk.size == 30 * 2**30


async def test_where_cdi_is_missing_it_says_so() -> None:
    cluster = Cluster()
    cluster.refusal = NotFound(404, "NotFound", "the server could not find the requested resource")
    for boot in (BOOT, URL):
        with pytest.raises(NoGoldenImage, match="is CDI installed"):
            await made(cluster, pod(), boot)


async def test_a_quota_is_told_as_the_api_server_tells_it() -> None:
    cluster = Cluster()
    cluster.refusal = ApiError(403, "Forbidden", "exceeded quota: disks")
    with pytest.raises(ApiError, match="exceeded quota"):
        await made(cluster, pod())
