"""What the dev host does for CDI's importer Pods: the Pod read, the disk written, the outcome reported."""

import gzip
import hashlib
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.devcluster.devhost.cdi import diskimages, importer, progress, run, work
from kubelet_bridge.devcluster.devhost.cdi.run import Run, Step
from kubelet_bridge.devcluster.devhost.cdi.work import Import
from kubelet_bridge.devcluster.devhost.podstatus import PodView, Stage, differs, pod_status
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal, Transient
from kubelet_bridge.model.core import Pod, PodStatus

_MIB = 1 << 20
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_DISK = b"".join(bytes([index]) * 1000 for index in range(1, 200)) + bytes(3 * _MIB) + b"the end"


def _pod(variables: dict[str, str], **container: Any) -> Pod:
    document = {
        "metadata": {
            "name": "importer-prime-1", "namespace": "shop", "uid": "p1",
            "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": "importer"},
        },
        "spec": {
            "containers": [{
                "name": "importer", "env": [{"name": name, "value": value} for name, value in variables.items()],
                **container,
            }],
            "volumes": [{"name": "cdi-data-vol", "persistentVolumeClaim": {"claimName": "prime-1"}}],
        },
    }  # fmt: skip
    return msgspec.convert(document, Pod)


_HTTP = {
    "IMPORTER_SOURCE": "http", "IMPORTER_CONTENTTYPE": "kubevirt", "IMPORTER_ENDPOINT": "http://x/disk",
    "IMPORTER_IMAGE_SIZE": "1Gi", "FILESYSTEM_OVERHEAD": "0.06", "OWNER_UID": "dv", "INSECURE_TLS": "false",
}  # fmt: skip


def _work(endpoint: str = "", *, source: str = "http", size: int = 8 * _MIB, checksum: str = "") -> Import:
    return Import("shop", "prime-1", source, endpoint, size, 0.0, checksum, "dv", block=False)


def _image(directory: Path, *, block: bool = False, capacity: int = 8 * _MIB) -> ClaimedImage:
    volume = directory / "volume"
    volume.mkdir()
    path = volume / ("block" if block else "disk.img")
    if block:
        path.write_bytes(b"\xff" * capacity)
    return ClaimedImage(path, block, capacity, "data")


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    async def serve(request: web.Request) -> web.Response:
        bodies = {"disk": _DISK, "packed": gzip.compress(_DISK), "damaged": gzip.compress(_DISK)[:-400]}
        if (body := bodies.get(request.match_info["name"])) is None:
            raise web.HTTPNotFound
        return web.Response(body=body)

    application = web.Application()
    application.add_routes([web.get("/{name}", serve)])
    async with TestServer(application) as server:
        yield server


def test_an_importer_pod_is_read() -> None:
    assert work.of(_pod(_HTTP)) == Import(
        "shop", "prime-1", "http", "http://x/disk", 1 << 30, 0.06, "", "dv", block=False
    )
    block = work.of(_pod(_HTTP, volumeDevices=[{"name": "cdi-data-vol", "devicePath": "/dev/cdi-block-volume"}]))
    assert block is not None
    assert block.block
    assert (
        work.of(msgspec.convert({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web"}]}}, Pod)) is None
    )


@pytest.mark.parametrize(
    "other", [{"IMPORTER_SOURCE": "vddk"}, {"IMPORTER_CONTENTTYPE": "archive"}], ids=["source", "content"]
)
def test_what_no_host_imports_is_refused(other: dict[str, str]) -> None:
    with pytest.raises(Terminal):
        work.of(_pod(_HTTP | other))


@pytest.mark.parametrize("name", ["disk", "packed"])
@pytest.mark.parametrize("block", [False, True])
async def test_a_disk_arrives_bit_by_bit(site: TestServer, tmp_path: Path, name: str, block: bool) -> None:
    image, told = _image(tmp_path, block=block), list[float]()
    await importer.run(_work(str(site.make_url(f"/{name}"))), image, told.append)
    content = image.path.read_bytes()
    assert content[: len(_DISK)] == _DISK
    assert content[len(_DISK) :] == bytes(8 * _MIB - len(_DISK))
    assert [path.name for path in image.path.parent.iterdir()] == [image.path.name]
    assert told == sorted(told)
    assert told[-1] == 100.0


@pytest.mark.parametrize("name", ["missing", "damaged"])
async def test_a_failed_import_leaves_the_disk_as_it_was(site: TestServer, tmp_path: Path, name: str) -> None:
    image = _image(tmp_path)
    image.path.write_bytes(b"before")
    with pytest.raises((Transient, Terminal)) as caught:
        await importer.run(_work(str(site.make_url(f"/{name}"))), image, lambda _percent: None)
    assert ("got 404" in str(caught.value)) == (name == "missing")
    assert image.path.read_bytes() == b"before"
    assert [path.name for path in image.path.parent.iterdir()] == [image.path.name]


async def test_a_checksum_decides(site: TestServer, tmp_path: Path) -> None:
    image, url = _image(tmp_path), str(site.make_url("/disk"))
    right = hashlib.sha256(_DISK).hexdigest()
    with pytest.raises(importer.ChecksumMismatch, match=f"calculated sha256:{right}"):
        await importer.run(_work(url, checksum=f"sha256:{'0' * 64}"), image, lambda _percent: None)
    assert not image.path.exists()
    await importer.run(_work(url, checksum=f"sha256:{right}"), image, lambda _percent: None)
    assert image.path.read_bytes().startswith(_DISK)


async def test_a_disk_that_is_too_large_is_refused(site: TestServer, tmp_path: Path) -> None:
    image = _image(tmp_path, capacity=2 * _MIB)
    with pytest.raises(Terminal, match="A larger PVC is required"):
        await importer.run(_work(str(site.make_url("/disk"))), image, lambda _percent: None)
    assert not image.path.exists()


async def test_an_empty_disk_is_as_large_as_was_asked_for(tmp_path: Path) -> None:
    image = _image(tmp_path)
    await importer.run(_work(source="none", size=3 * _MIB), image, lambda _percent: None)
    assert image.path.stat().st_size == 3 * _MIB
    assert not image.path.read_bytes().strip(b"\0")


@given(st.integers(0, 1 << 40), st.floats(0, 0.5))
def test_what_is_usable_fits(available: int, overhead: float) -> None:
    usable = diskimages.usable(available, overhead)
    assert usable % _MIB == 0
    assert 0 <= usable <= available


def test_a_qcow2_header_is_read_and_one_with_a_backing_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 5 * _MIB) + bytes(500))
    assert diskimages.probe(path) == diskimages.Format("qcow2", 5 * _MIB)
    path.write_bytes(struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 112, 9, 16, 5 * _MIB) + bytes(500))
    with pytest.raises(Terminal, match="backing file"):
        diskimages.probe(path)


def test_progress_is_in_the_form_that_cdi_reads() -> None:
    assert 'kubevirt_cdi_import_progress_total{ownerUID="dv"} 42.50\n' in progress.text(progress.IMPORT, "dv", 42.5)


def test_a_run_is_reported_as_its_container() -> None:
    pod = _pod(_HTTP)
    view = PodView(Stage.RUNNING, "10.0.0.1", "10.0.0.2")

    def reported(state: Run, at: PodView = view) -> dict[str, Any]:
        status = run.with_run(pod_status(pod, at, _NOW), state)
        found: dict[str, Any] = msgspec.to_builtins(status.container_statuses[0])
        return found | {"phase": status.phase}

    ended = _NOW + timedelta(seconds=5)
    failed = reported(Run(Step.FAILED, 0, "Unable to process data: x", ended))
    over = failed["state"]["terminated"]
    assert (over["exitCode"], over["reason"], over["message"]) == (1, "Error", "Unable to process data: x")
    assert failed["phase"] == "Running"
    waiting = reported(Run(Step.BACKOFF, 1, "x", ended))
    assert waiting["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert waiting["lastState"]["terminated"]["exitCode"] == 1
    assert waiting["restartCount"] == 1
    again = reported(Run(Step.RUNNING, 2, "x", ended))
    assert (again["ready"], list(again["state"]), again["restartCount"]) == (True, ["running"], 2)
    done = reported(
        Run(Step.DONE, 2, '{"message":"Import Complete"}', ended), msgspec.structs.replace(view, stage=Stage.ENDED)
    )
    assert (done["phase"], done["state"]["terminated"]["exitCode"]) == ("Succeeded", 0)
    assert msgspec.json.decode(done["state"]["terminated"]["message"]) == {"message": "Import Complete"}


@given(st.integers(0, 1000))
def test_back_off_grows_to_five_minutes(restarts: int) -> None:
    assert run.backoff(restarts) <= run.backoff(restarts + 1) <= 300.0


@pytest.mark.parametrize("step", list(Step))
def test_what_was_reported_is_not_news(step: Step) -> None:
    """A kubelet that finds its own report changed by nothing writes nothing, however late it looks again."""
    stage = Stage.ENDED if step is Step.DONE else Stage.RUNNING
    view = PodView(stage, "10.0.0.1", "10.0.0.2", ready=step is Step.RUNNING)
    state = Run(step, 1, "why", _NOW)
    pod = _pod(_HTTP)
    for seconds in (10, 20, 30):
        wanted = run.with_run(pod_status(pod, view, _NOW + timedelta(seconds=seconds)), state)
        assert differs(pod, wanted) == (seconds == 10)
        pod = msgspec.structs.replace(pod, status=msgspec.json.decode(msgspec.json.encode(wanted), type=PodStatus))
