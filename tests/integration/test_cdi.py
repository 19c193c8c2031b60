"""Real cdi-apiserver and cdi-controller against the dev hosts: DataVolumes of every source, bit by bit."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubelet_bridge.devcluster import storageclasses
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import DATAVOLUMES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.support.bridge import Json, decoded, eventually
from tests.support.devhost import Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
_DISK = b"disk" + bytes(range(256)) * 4096 + bytes(1 << 20) + b"end"


@pytest.fixture
async def hosted(site: Site) -> AsyncIterator[Site]:
    async with site.host():
        yield site
        await site.clear()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=_DISK)

    application = web.Application()
    application.add_routes([web.get("/disk", serve)])
    async with TestServer(application) as server:
        yield str(server.make_url("/disk"))


async def _volume(site: Site, name: str, source: Json, *, mode: str, size: str = "16Mi", klass: str = "") -> None:
    await site.client.create(DATAVOLUMES, site.namespace, {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {"name": name, "annotations": {"cdi.kubevirt.io/storage.bind.immediate.requested": "true"}},
        "spec": {"source": source, "storage": {
            "storageClassName": klass or storageclasses.REPLICATED, "volumeMode": mode,
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
        }},
    })  # fmt: skip


async def _until(site: Site, name: str, holds: Callable[[Json], Any], what: str) -> Json:
    async def look() -> Json | None:
        found: Json = decoded(await site.client.get(DATAVOLUMES, site.namespace, name))
        return found if holds(found.get("status", {})) else None

    return await eventually(look, f"{name}: {what}", seconds=90)


async def _content(site: Site, claim: str) -> bytes:
    found = decoded(await site.client.get(PERSISTENTVOLUMECLAIMS, site.namespace, claim))
    volume = decoded(await site.client.get(PERSISTENTVOLUMES, None, found["spec"]["volumeName"]))
    directory: Path = site.cluster.layout.volumes / volume["spec"]["csi"]["volumeHandle"]
    file = directory / ("block" if volume["spec"]["volumeMode"] == "Block" else "disk.img")
    return await asyncio.to_thread(file.read_bytes)


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
async def test_an_import_and_a_clone_of_it(hosted: Site, url: str, mode: str) -> None:
    checksum = f"sha256:{hashlib.sha256(_DISK).hexdigest()}"
    await _volume(hosted, "first", {"http": {"url": url, "checksum": checksum}}, mode=mode)
    await _until(hosted, "first", lambda status: status.get("phase") == "Succeeded", "imported")
    assert (await _content(hosted, "first")).startswith(_DISK)
    await _volume(hosted, "second", {"pvc": {"namespace": hosted.namespace, "name": "first"}}, mode=mode)
    await _until(hosted, "second", lambda status: status.get("phase") == "Succeeded", "cloned")
    assert (await _content(hosted, "second")).rstrip(b"\0") == _DISK


async def test_a_checksum_that_is_wrong_and_a_url_that_is(hosted: Site, url: str) -> None:
    await _volume(hosted, "wrong", {"http": {"url": url, "checksum": f"sha256:{'0' * 64}"}}, mode="Block")
    await _until(hosted, "wrong", lambda status: status.get("phase") == "Failed", "failed")
    await _volume(hosted, "missing", {"http": {"url": f"{url}-missing"}}, mode="Block")
    await _until(hosted, "missing", lambda status: "got 404" in str(status.get("conditions")), "says why")


async def test_a_claim_grows_and_a_volume_goes_with_it(hosted: Site) -> None:
    await _volume(hosted, "blank", {"blank": {}}, mode="Block")
    await _until(hosted, "blank", lambda status: status.get("phase") == "Succeeded", "made")
    grown = {"spec": {"resources": {"requests": {"storage": "32Mi"}}}}
    await hosted.client.patch(PERSISTENTVOLUMECLAIMS, hosted.namespace, "blank", grown, kind=PatchType.MERGE)

    async def is_larger() -> bool:
        return len(await _content(hosted, "blank")) == 32 << 20

    await eventually(is_larger, "32 MiB")
