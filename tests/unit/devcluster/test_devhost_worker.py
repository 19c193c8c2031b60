"""The work of CDI's Pods from the first look of their kubelet on: failures, restarts and faults."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubelet_bridge.devcluster.devhost.cdi import worker
from kubelet_bridge.devcluster.devhost.cdi.lookups import Lookups
from kubelet_bridge.devcluster.devhost.cdi.run import Run, Step, with_run
from kubelet_bridge.devcluster.devhost.cdi.worker import Worker
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.faults import Fault, FaultKind
from kubelet_bridge.devcluster.devhost.podstatus import PodView, Stage, pod_status
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage, ClaimedImages
from kubelet_bridge.errors import NotFound, Transient
from kubelet_bridge.model.core import Pod

_DISK = b"disk" + bytes(1 << 20)
_ADDRESS = "127.83.9.1"


class _Images(ClaimedImages):
    """One volume; before ``bound`` it is not there."""

    def __init__(self, image: ClaimedImage) -> None:
        self.image, self.bound = image, True

    async def find(self, namespace: str, name: str) -> ClaimedImage | None:
        if not self.bound:
            raise Transient(f"claim {namespace}/{name} is not bound")
        return self.image


class _Lookups(Lookups):
    """An importer needs nothing; the Secret of another Pod is there when it is in ``secrets``."""

    def __init__(self) -> None:
        self.secrets = dict[str, Mapping[str, bytes]]()

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        if name not in self.secrets:
            raise NotFound(404, "NotFound", f'secrets "{name}" not found')
        return self.secrets[name]


class Site:
    """A worker with a claim's volume, and a web site that has the disk or has not."""

    def __init__(self, directory: Path, url: str) -> None:
        (directory / "volume").mkdir()
        self.images = _Images(ClaimedImage(directory / "volume" / "disk.img", False, 4 << 20, "data"))
        self.lookups = _Lookups()
        self.faults = FaultBook(directory / "faults.json", self._spent)
        self.worker = Worker(
            self.images, self.lookups, self.faults, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            lambda: datetime.now(UTC),
        )  # fmt: skip
        self.pod = _pod(url)
        self.spent = list[str]()
        self._news = asyncio.Event()
        self.worker.subscribe(lambda _uid: self._news.set())

    async def until(self, step: Step, restarts: int) -> Run:
        while True:
            run = self.worker.look(self.pod, _ADDRESS)
            if (run.step, run.restarts) == (step, restarts):
                return run
            await self._news.wait()
            self._news.clear()

    async def _spent(self, rule: Fault) -> None:
        self.spent.append(rule.id)


def _pod(url: str, component: str = "importer", phase: str = "Pending") -> Pod:
    variables = {
        "IMPORTER_SOURCE": "http", "IMPORTER_CONTENTTYPE": "kubevirt", "IMPORTER_ENDPOINT": url,
        "IMPORTER_IMAGE_SIZE": "2Mi",
    }  # fmt: skip
    document = {
        "metadata": {
            "name": f"{component}-data", "namespace": "shop", "uid": "p1",
            "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": component},
        },
        "status": {"phase": phase},
        "spec": {
            "containers": [{
                "name": component, "env": [{"name": name, "value": value} for name, value in variables.items()],
            }],
            "volumes": [{"name": "cdi-data-vol", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }  # fmt: skip
    return msgspec.convert(document, Pod)


@pytest.fixture
def have() -> dict[str, bytes]:
    """What the web site has."""
    return {}


@pytest.fixture
async def url(have: dict[str, bytes]) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.Response:
        if (body := have.get(request.match_info["name"])) is None:
            raise web.HTTPNotFound
        return web.Response(body=body)

    application = web.Application()
    application.add_routes([web.get("/{name}", serve)])
    async with TestServer(application) as server:
        yield str(server.make_url("/disk"))


@pytest.fixture
async def site(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(worker, "_FAILED_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_CREATION_SECONDS", 0.01)
    monkeypatch.setattr(worker, "backoff", lambda restarts: 0.01 if restarts else 0.0)
    one = Site(tmp_path, url)
    running = asyncio.get_running_loop().create_task(one.worker.run())
    await asyncio.sleep(0)
    yield one
    running.cancel()
    await asyncio.wait([running])


async def test_what_fails_is_begun_again_until_it_succeeds(site: Site, have: dict[str, bytes]) -> None:
    failed = await site.until(Step.FAILED, 0)
    assert "expected status code 200, got 404" in failed.message
    assert failed.ended is not None
    assert failed.ended.microsecond == 0
    waiting = await site.until(Step.BACKOFF, 1)
    assert waiting.message == failed.message
    have["disk"] = _DISK
    while (run := site.worker.look(site.pod, _ADDRESS)).step is not Step.DONE:
        await asyncio.sleep(0.01)
    assert run.restarts >= 1
    assert msgspec.json.decode(run.message)["message"] == "Import Complete"
    assert site.images.image.path.read_bytes().startswith(_DISK)


async def test_a_volume_that_is_not_there_yet_is_waited_for_without_a_restart(
    site: Site, have: dict[str, bytes]
) -> None:
    have["disk"], site.images.bound = _DISK, False
    assert site.worker.look(site.pod, _ADDRESS) == Run()
    await asyncio.sleep(0.05)
    assert site.worker.look(site.pod, _ADDRESS) == Run()
    site.images.bound = True
    await site.until(Step.DONE, 0)


async def test_a_container_whose_secret_is_not_there_is_not_created(site: Site) -> None:
    """CDI makes the Secret of a clone's source only as long as the Pod is not seen to run."""
    site.pod = _pod("", "cdi-clone-source")
    for _ in range(5):
        run = site.worker.look(site.pod, _ADDRESS)
        assert run == Run(Step.CREATING)
        status = pod_status(site.pod, PodView(Stage.PULLING, "10.0.0.1"), datetime.now(UTC))
        assert with_run(status, run) == status
        await asyncio.sleep(0.02)
    site.lookups.secrets[site.pod.metadata.name] = {}
    failed = await site.until(Step.FAILED, 0)
    assert "has no tls.crt" in failed.message, "it was begun with what the Secret holds"


async def test_an_upload_server_is_ready_when_it_listens(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CDI waits for before it makes the source of a clone."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def serve(*_: object, listening: Callable[[], None]) -> None:
        begun.set()
        await go_on.wait()
        listening()
        await asyncio.Event().wait()

    monkeypatch.setattr(worker.uploading, "serve", serve)
    monkeypatch.setattr(worker.credentials, "server", lambda _secret: None)
    site.pod = _pod("", "cdi-upload-server")
    site.lookups.secrets[site.pod.metadata.name] = {}
    await site.until(Step.RUNNING, 0)
    await begun.wait()
    assert not site.worker.look(site.pod, _ADDRESS).ready
    go_on.set()
    while not site.worker.look(site.pod, _ADDRESS).ready:
        await asyncio.sleep(0.01)


async def test_a_pod_that_ran_under_an_earlier_host_is_not_pending_again(site: Site) -> None:
    site.images.bound, site.pod = False, _pod("", phase="Running")
    assert site.worker.look(site.pod, _ADDRESS).step is Step.RUNNING


async def test_faults_are_for_the_claim_that_is_filled(site: Site, have: dict[str, bytes]) -> None:
    have["disk"] = _DISK
    await site.faults.set(Fault(FaultKind.IMPORT_ERROR, "shop/data", once=True, id="one"))
    await site.faults.set(Fault(FaultKind.IMPORT_ERROR, "shop/other", id="two"))
    failed = await site.until(Step.FAILED, 0)
    assert "the import fails" in failed.message
    await site.until(Step.DONE, 1)
    assert site.spent == ["one"]


async def test_a_stalled_import_goes_on_when_the_fault_is_cleared(site: Site, have: dict[str, bytes]) -> None:
    have["disk"] = _DISK
    await site.faults.set(Fault(FaultKind.IMPORT_STALL, "shop/data", id="one"))
    await site.until(Step.RUNNING, 0)
    await asyncio.sleep(0.05)
    assert not await asyncio.to_thread(site.images.image.path.exists)
    await site.faults.clear("one")
    await site.until(Step.DONE, 0)


async def test_a_pod_that_has_gone_is_worked_for_no_more(site: Site, have: dict[str, bytes]) -> None:
    have["disk"] = _DISK
    site.images.bound = False
    site.worker.look(site.pod, _ADDRESS)
    site.worker.forget(site.pod.metadata.uid)
    site.images.bound = True
    await asyncio.sleep(0.05)
    assert not await asyncio.to_thread(site.images.image.path.exists)


async def test_what_a_killed_host_left_on_the_volume_goes(site: Site, have: dict[str, bytes]) -> None:
    have["disk"] = _DISK
    left = site.images.image.path.parent / ".cdi-draft-old"
    left.mkdir()
    await site.until(Step.DONE, 0)
    assert not left.exists()
