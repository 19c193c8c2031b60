"""Claims of the bridge's class on a real CDI and the dev hosts' storage: bound at once, filled, used, and gone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubelet_bridge.devcluster.bridge import VM_DISK
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import DATAVOLUMES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE
from tests.support.bridge import Bridge, Json, World, decoded, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=b"disk" + bytes(1 << 20))

    application = web.Application()
    application.add_routes([web.get("/disk", serve)])
    async with TestServer(application) as server:
        yield str(server.make_url("/disk"))


async def claim(world: World, name: str, source: str = "", **spec: Any) -> Json:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}, **spec}
    return await world.create(PERSISTENTVOLUMECLAIMS, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": {ANNOTATION_SOURCE: source} if source else {}},
        "spec": {"storageClassName": VM_DISK, **wanted},
    })  # fmt: skip


def using(world: World, name: str, **container: Any) -> Json:
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": name}}]
    return world.pod(f"with-{name}", volumes=volumes, container=container)


async def bound(world: World, name: str) -> Json:
    async def look() -> Json | None:
        found = await world.get(PERSISTENTVOLUMECLAIMS, name)
        return found if found is not None and found["status"].get("phase") == "Bound" else None

    found: Json = await eventually(look, lambda: f"claim {name} Bound; {world.bridge.tail()}")
    return found


async def volumes_left(world: World) -> list[Json]:
    """PersistentVolumes of this namespace, ours and the real claims': they outlive it, and want the bridge to go."""
    found = decoded(await world.client.list(PERSISTENTVOLUMES))["items"]
    return [one for one in found if (one["spec"].get("claimRef") or {}).get("namespace") == world.namespace]


async def removed(world: World, *names: str) -> None:
    for name in names:
        await world.client.delete(PODS, world.namespace, f"with-{name}")
        await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, name)

    async def nothing() -> bool:
        return not (await volumes_left(world) or await world.find(DATAVOLUMES))

    await eventually(nothing, lambda: f"no disk left; {world.bridge.tail()}", seconds=90)


@pytest.mark.parametrize("source", ["", "url"])
async def test_a_claim_is_a_disk_until_it_is_deleted(world: World, bridge: Bridge, url: str, source: str) -> None:
    await bridge.start()
    await claim(world, "data", url if source else "")
    await world.create(PODS, using(world, "data"))
    volume = (await bound(world, "data"))["spec"]["volumeName"]
    await world.ready("with-data", seconds=120)
    (made,) = await world.find(DATAVOLUMES)
    assert made["status"]["phase"] == "Succeeded"
    (vm,) = await world.vms()
    disks = vm["spec"]["template"]["spec"]["volumes"]
    assert {"claimName": made["metadata"]["name"]} in [one.get("persistentVolumeClaim") for one in disks]
    assert volume.startswith("pvc-")
    await removed(world, "data")


async def test_a_vm_boots_from_a_claim(world: World, bridge: Bridge, url: str) -> None:
    await bridge.start()
    await claim(world, "system", url)
    await world.create(PODS, using(world, "system", image="pvc://system"))
    await world.ready("with-system", seconds=120)
    await removed(world, "system")


async def test_a_disk_grows_with_its_claim(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "data")
    await world.create(PODS, using(world, "data"))
    await bound(world, "data")
    wanted = {"spec": {"resources": {"requests": {"storage": "32Mi"}}}}
    await world.client.patch(PERSISTENTVOLUMECLAIMS, world.namespace, "data", wanted, kind=PatchType.MERGE)

    async def grown() -> bool:
        found = await world.get(PERSISTENTVOLUMECLAIMS, "data")
        return found is not None and found["status"]["capacity"]["storage"] == "32Mi"

    await eventually(grown, lambda: f"32Mi; {bridge.tail()}", seconds=90)
    await removed(world, "data")


async def test_a_disk_that_somebody_deletes_is_not_made_again(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "data")
    await world.create(PODS, using(world, "data"))
    await world.ready("with-data", seconds=120)
    (made,) = await world.find(DATAVOLUMES)
    await world.client.delete(DATAVOLUMES, world.namespace, made["metadata"]["name"])
    over = await world.phase("with-data", "Failed")
    assert over["status"]["reason"] == "VolumeLost"
    assert await world.find(DATAVOLUMES) == []
    await removed(world, "data")


async def waiting_message(world: World, name: str) -> str:
    pod = await world.get(PODS, name)
    statuses = (pod or {}).get("status", {}).get("containerStatuses", [])
    return str(statuses[0]["state"].get("waiting", {}).get("message", "")) if statuses else ""


@pytest.mark.parametrize("grace", [None, 0], ids=["", "by force"])
async def test_one_machine_at_a_time_has_a_disk(world: World, bridge: Bridge, grace: int | None) -> None:
    await bridge.start()
    await claim(world, "data")
    await world.create(PODS, using(world, "data"))
    await world.ready("with-data", seconds=120)
    second = using(world, "data")
    second["metadata"]["name"] = "second"
    await world.create(PODS, second)

    async def waits() -> bool:
        return "Multi-Attach error" in await waiting_message(world, "second")

    await eventually(waits, lambda: f"the second Pod waits; {bridge.tail()}")
    assert len(await world.vms()) == 1
    await world.client.delete(PODS, world.namespace, "with-data", grace_seconds=grace)
    await world.ready("second", seconds=120)
    (vm,) = await world.vms()
    assert vm["metadata"]["name"] == "second"
    await world.client.delete(PODS, world.namespace, "second")
    await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, "data")

    async def nothing() -> bool:
        return not (await volumes_left(world) or await world.find(DATAVOLUMES))

    await eventually(nothing, lambda: f"no disk left; {bridge.tail()}", seconds=90)


async def test_a_disk_that_an_administrator_keeps_survives_its_volume(world: World, bridge: Bridge) -> None:
    await bridge.start()
    await claim(world, "data")
    await world.create(PODS, using(world, "data"))
    await world.ready("with-data", seconds=120)
    volume = (await bound(world, "data"))["spec"]["volumeName"]
    (made,) = await world.find(DATAVOLUMES)
    keep = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
    await world.client.patch(PERSISTENTVOLUMES, None, volume, keep, kind=PatchType.MERGE)
    await world.client.delete(PODS, world.namespace, "with-data")
    await world.client.delete(PERSISTENTVOLUMECLAIMS, world.namespace, "data")

    async def released() -> bool:
        found = decoded(await world.client.get(PERSISTENTVOLUMES, None, volume))
        return bool(found["status"]["phase"] == "Released")

    await eventually(released, lambda: f"{volume} Released; {bridge.tail()}", seconds=90)
    await world.client.delete(PERSISTENTVOLUMES, None, volume)

    async def let_go() -> bool:
        return volume not in [one["metadata"]["name"] for one in await volumes_left(world)]

    await eventually(let_go, lambda: f"{volume} gone; {bridge.tail()}")
    (kept,) = await world.find(DATAVOLUMES)
    assert kept["metadata"]["uid"] == made["metadata"]["uid"]
    real = await world.get(PERSISTENTVOLUMECLAIMS, made["metadata"]["name"])
    assert real is not None
    assert "deletionTimestamp" not in real["metadata"]
    await world.client.delete(DATAVOLUMES, world.namespace, made["metadata"]["name"])
