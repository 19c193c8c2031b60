"""Pods that name an OS: its image is imported once by a real CDI, and every VM has a clone of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubelet_bridge.devcluster.bridge import VM_DISK
from kubelet_bridge.model.meta import LABEL_POD_UID
from kubelet_bridge.model.resources import CONFIGMAPS, DATAVOLUMES, PERSISTENTVOLUMECLAIMS, PODS
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE
from tests.support.bridge import Bridge, Json, World, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
NAMES = ("appliance-3", "Appliance 3", "appliance3")


@dataclass
class Server:
    """Where the image is fetched from, and how often it was."""

    url: str = ""
    served: int = 0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    counted = Server()

    async def serve(request: web.Request) -> web.Response:
        counted.served += request.method == "GET"
        return web.Response(body=b"system" + bytes(1 << 20))

    application = web.Application()
    application.add_routes([web.get("/disk", serve)])
    async with TestServer(application) as http:
        counted.url = str(http.make_url("/disk"))
        yield counted


@pytest.fixture
async def catalogue(world: World, bridge: Bridge, server: Server) -> None:
    """A bridge that knows one image of the cluster's own, and keeps its golden image in the test's namespace."""
    entry = {
        "name": NAMES[0], "title": "The appliance", "user": "admin", "minimumDisk": "16Mi",
        "source": {"http": {"url": server.url}},
    }  # fmt: skip
    await world.create(CONFIGMAPS, {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubelet-bridge-images"},
        "data": {"images.yaml": yaml.safe_dump({"images": [entry]})},
    })  # fmt: skip
    bridge.arguments = ["--namespace", world.namespace]
    await bridge.start()


async def disks(world: World) -> tuple[list[str], list[str]]:
    """The names of golden images, and of VMs' own disks."""
    found = await world.find(DATAVOLUMES)
    of_pods = [one for one in found if LABEL_POD_UID in one["metadata"]["labels"]]
    return [one["metadata"]["name"] for one in found if one not in of_pods], [
        one["metadata"]["name"] for one in of_pods
    ]


@pytest.mark.usefixtures("catalogue")
async def test_an_image_is_imported_once_for_all(world: World, bridge: Bridge, server: Server) -> None:
    for number, name in enumerate(NAMES):
        await world.create(PODS, world.pod(f"vm-{number}", container={"image": name}))

    async def begun() -> bool:
        return bool((await disks(world))[0])

    await eventually(begun, lambda: f"a golden image; {bridge.tail()}")
    await bridge.kill()
    await bridge.start()
    for number in range(len(NAMES)):
        await world.ready(f"vm-{number}", seconds=120)
    (golden,), own = await disks(world)
    assert len(own) == len(NAMES)

    await world.create(PERSISTENTVOLUMECLAIMS, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "copy", "annotations": {ANNOTATION_SOURCE: f"image:{NAMES[0]}"}},
        "spec": {
            "storageClassName": VM_DISK, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "32Mi"}},
        },
    })  # fmt: skip
    volume = {"name": "system", "persistentVolumeClaim": {"claimName": "copy"}}
    await world.create(PODS, world.pod("vm-copy", container={"image": "pvc://copy"}, volumes=[volume]))
    await world.ready("vm-copy", seconds=120)
    assert server.served == 1

    for number in range(len(NAMES)):
        await world.client.delete(PODS, world.namespace, f"vm-{number}")

    async def only_golden() -> bool:
        every, of_pods = await disks(world)
        return golden in every and not of_pods

    await eventually(only_golden, lambda: f"the VMs' disks gone; {bridge.tail()}")


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("name", "annotations", "said"),
    [
        ("appliance-4", {}, "appliance-3"),
        ("x", {"kubelet-bridge.io/boot": "aplliance-3"}, "appliance-3"),
        ("appliance-3", {"kubelet-bridge.io/root-disk-size": "1Mi"}, "kubelet-bridge.io/root-disk-size"),
    ],
)
async def test_what_cannot_be_booted_says_so(
    world: World, bridge: Bridge, name: str, annotations: dict[str, str], said: str
) -> None:
    pod = world.pod("wrong", container={"image": name})
    pod["metadata"]["annotations"] = annotations
    await world.create(PODS, pod)
    last: Json = {}

    async def refused() -> bool:
        nonlocal last
        last = (await world.get(PODS, "wrong") or {}).get("status", {})
        return said in str(last)

    await eventually(refused, lambda: f"{said!r} in the status: {last}; {bridge.tail()}")
    assert not await world.vms()
    assert await disks(world) == ([], [])
