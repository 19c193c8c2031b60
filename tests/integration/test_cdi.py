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
from kubelet_bridge.model.resources import DATAVOLUMES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, SECRETS
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


async def _bound(site: Site, claim: str) -> Json:
    """CDI calls a DataVolume filled a moment before Kubernetes has given the volume to its claim."""

    async def look() -> Json | None:
        found: Json = decoded(await site.client.get(PERSISTENTVOLUMECLAIMS, site.namespace, claim))
        return found if found["status"]["phase"] == "Bound" else None

    return await eventually(look, f"{claim} Bound")


async def _content(site: Site, claim: str) -> bytes:
    found = await _bound(site, claim)
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


async def test_many_clones_of_one_claim_at_once(hosted: Site, url: str) -> None:
    await _volume(hosted, "first", {"http": {"url": url}}, mode="Filesystem")
    await _until(hosted, "first", lambda status: status.get("phase") == "Succeeded", "imported")
    names = [f"clone-{number}" for number in range(8)]
    for name in names:
        await _volume(hosted, name, {"pvc": {"namespace": hosted.namespace, "name": "first"}}, mode="Filesystem")
    for name in names:
        await _until(hosted, name, lambda status: status.get("phase") == "Succeeded", "cloned")
        assert (await _content(hosted, name)).rstrip(b"\0") == _DISK


async def test_a_source_runs_not_before_it_has_its_secret(hosted: Site) -> None:
    """However late cdi-controller is: it makes none for a Pod that runs."""
    await _volume(hosted, "blank", {"blank": {}}, mode="Filesystem")
    await _until(hosted, "blank", lambda status: status.get("phase") == "Succeeded", "made")
    key = {"name": "CLIENT_KEY", "valueFrom": {"secretKeyRef": {"name": "source", "key": "tls.key"}}}
    await hosted.client.create(PODS, hosted.namespace, {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "source", "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": "cdi-clone-source"},
        },
        "spec": {
            "containers": [{"name": "source", "image": "example.test/cloner:1", "env": [key]}],
            "volumes": [{"name": "cdi-data-vol", "persistentVolumeClaim": {"claimName": "blank"}}],
        },
    })  # fmt: skip

    async def reported() -> Json:
        pod: Json = decoded(await hosted.client.get(PODS, hosted.namespace, "source"))
        return pod["status"]

    async def is_seen() -> Json | None:
        status = await reported()
        return status if status.get("containerStatuses") else None

    status = await eventually(is_seen, "the source is seen by its kubelet")
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    await hosted.client.create(SECRETS, hosted.namespace, {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}, "data": {},
    })  # fmt: skip

    async def runs() -> bool:
        return bool((await reported())["phase"] == "Running")

    await eventually(runs, "the source runs")


async def test_a_checksum_that_is_wrong_and_a_url_that_is(hosted: Site, url: str) -> None:
    await _volume(hosted, "wrong", {"http": {"url": url, "checksum": f"sha256:{'0' * 64}"}}, mode="Block")
    await _until(hosted, "wrong", lambda status: status.get("phase") == "Failed", "failed")
    await _volume(hosted, "missing", {"http": {"url": f"{url}-missing"}}, mode="Block")
    await _until(hosted, "missing", lambda status: "got 404" in str(status.get("conditions")), "says why")


async def test_a_claim_grows_and_a_volume_goes_with_it(hosted: Site) -> None:
    await _volume(hosted, "blank", {"blank": {}}, mode="Block")
    await _until(hosted, "blank", lambda status: status.get("phase") == "Succeeded", "made")
    await _bound(hosted, "blank")
    grown = {"spec": {"resources": {"requests": {"storage": "32Mi"}}}}
    await hosted.client.patch(PERSISTENTVOLUMECLAIMS, hosted.namespace, "blank", grown, kind=PatchType.MERGE)

    async def is_larger() -> bool:
        return len(await _content(hosted, "blank")) == 32 << 20

    await eventually(is_larger, "32 MiB")
