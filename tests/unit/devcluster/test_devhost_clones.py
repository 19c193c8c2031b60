"""A host-assisted clone between two of CDI's Pods as dev hosts do it: real TLS on loopback, nothing but the disk."""

import asyncio
import contextlib
import io
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from kubelet_bridge.devcluster.devhost.cdi import cloning, credentials, uploading, work
from kubelet_bridge.devcluster.devhost.cdi.work import Clone, Upload
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.devcluster.pki import Authority, Leaf
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.errors import Terminal, Transient
from kubelet_bridge.model.core import Pod

_MIB = 1 << 20
_SERVER, _CLIENT = "cdi-upload-prime-1.shop.svc", "shop/data-shop/prime-1"
# A disk that a guest has written, and that looks like an image which names a file of the host's.
_DISK = (
    struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 112, 11, 16, _MIB) + bytes(80) + b"/etc/shadow" + bytes(2 * _MIB) + b"end"
)


class Ends:
    """Certificates as CDI hands them out, and the two ends of a clone."""

    def __init__(self, directory: Path, *, block: bool = False) -> None:
        self._pki = directory / "pki"
        self._pki.mkdir()
        authority = Authority(self._pki, "ca")
        authority.issue(Leaf("server", "ca", _SERVER, dns=(_SERVER,), client=False))
        authority.issue(Leaf("client", "ca", _CLIENT))
        authority.issue(Leaf("stranger", "ca", "somebody-else"))
        Authority(self._pki, "other-ca").issue(Leaf("outsider", "other-ca", _CLIENT))
        self.port = free_port()
        self.source = _image(directory / "source", block=block)
        self.target = _image(directory / "target", block=block)
        self.upload = Upload("shop", "prime-1", 4 * _MIB, 0.0, block, _CLIENT, "s")
        self.clone = Clone(
            "shop", "data", f"https://{_SERVER}:{self.port}/v1beta1/upload", "dv", block, self.pem("ca"), "c"
        )

    def pem(self, name: str) -> str:
        return (self._pki / f"{name}.crt").read_text()

    def secret(self, name: str) -> dict[str, bytes]:
        return {
            "tls.crt": (self._pki / f"{name}.crt").read_bytes(), "tls.key": (self._pki / f"{name}.key").read_bytes(),
            "ca.crt": (self._pki / "ca.crt").read_bytes(),
        }  # fmt: skip

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator["asyncio.Task[str]"]:
        """The target's Pod, once it says that it listens."""
        tls, listening = await asyncio.to_thread(credentials.server, self.secret("server")), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                uploading.serve(self.upload, self.target, "127.0.0.1", tls, port=self.port, listening=listening.set)
            )
            await listening.wait()
            yield task
            task.cancel()

    async def send(self, client: str = "client") -> list[float]:
        told = list[float]()
        tls = await asyncio.to_thread(credentials.client, self.secret(client), self.clone.authority)
        await cloning.send(self.clone, self.source, "127.0.0.1", tls, told.append)
        return told


def _image(directory: Path, *, block: bool) -> ClaimedImage:
    directory.mkdir()
    path = directory / ("block" if block else "disk.img")
    if block:
        path.write_bytes(b"\xff" * (4 * _MIB))
    return ClaimedImage(path, block, 4 * _MIB, "data")


@pytest.fixture(params=[False])
def ends(tmp_path: Path, request: pytest.FixtureRequest) -> Ends:
    """With filesystem volumes, unless a test asks for both kinds."""
    return Ends(tmp_path, block=request.param)


@pytest.mark.parametrize("ends", [False, True], indirect=True)
async def test_a_clone_is_the_same_bit_by_bit_whatever_it_looks_like(ends: Ends) -> None:
    ends.source.path.write_bytes(_DISK)
    async with ends.server() as server:
        told = await ends.send()
        assert await server == "Clone"
    content = ends.target.path.read_bytes()
    assert content[: len(_DISK)] == _DISK
    assert content[len(_DISK) :] == bytes(4 * _MIB - len(_DISK))
    assert [path.name for path in ends.target.path.parent.iterdir()] == [ends.target.path.name]
    assert told == sorted(told)


@pytest.mark.parametrize("client", ["stranger", "outsider"])
async def test_only_the_clones_own_source_is_let_in(ends: Ends, client: str) -> None:
    ends.source.path.write_bytes(_DISK)
    async with ends.server() as server:
        with pytest.raises(Transient):
            await ends.send(client)
        assert not server.done()
        await ends.send()
        await server


async def test_only_the_clones_own_target_is_sent_anything(ends: Ends) -> None:
    ends.source.path.write_bytes(_DISK)
    ends.clone = msgspec.structs.replace(ends.clone, authority=ends.pem("other-ca"))
    async with ends.server() as server:
        with pytest.raises(Transient, match="cannot be reached"):
            await ends.send()
        assert not server.done()
    assert not ends.target.path.exists()


async def test_a_transfer_that_breaks_off_changes_nothing(ends: Ends) -> None:
    ends.target.path.write_bytes(b"before")
    ends.source.path.write_bytes(_DISK)

    async def half() -> AsyncIterator[bytes]:
        yield _DISK[:_MIB]
        raise ConnectionResetError

    tls = await asyncio.to_thread(credentials.client, ends.secret("client"), ends.clone.authority)
    async with ends.server() as server:
        async with aiohttp.ClientSession() as http:
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await http.post(
                    f"https://127.0.0.1:{ends.port}/v1beta1/upload", data=half(), ssl=tls, server_hostname=_SERVER,
                    headers={"Content-Length": str(len(_DISK)), uploading.CONTENT_TYPE: uploading.CLONES[1]},
                )  # fmt: skip
        assert ends.target.path.read_bytes() == b"before"
        assert not server.done()
        await ends.send()
        await server
    assert ends.target.path.read_bytes().startswith(_DISK)


async def test_an_upload_is_an_image_and_is_read_as_one(ends: Ends) -> None:
    tls = await asyncio.to_thread(credentials.client, ends.secret("client"), ends.clone.authority)
    url = f"https://127.0.0.1:{ends.port}/v1beta1/upload"
    async with ends.server() as server, aiohttp.ClientSession() as http:
        async with http.post(url, data=io.BytesIO(_DISK), ssl=tls, server_hostname=_SERVER) as refused:
            assert refused.status == 400
            assert "backing file" in await refused.text()
        async with http.post(url, data=io.BytesIO(b"raw" + bytes(_MIB)), ssl=tls, server_hostname=_SERVER) as taken:
            assert taken.status == 200
        assert await server == "Upload"
    assert ends.target.path.read_bytes() == b"raw" + bytes(4 * _MIB - 3)


async def test_a_source_without_a_disk_is_said_so(ends: Ends) -> None:
    async with ends.server():
        with pytest.raises(Terminal, match="no disk"):
            await ends.send()


@pytest.mark.parametrize("url", ["", "https://example.test/x", "https://name.ns/x", "not a url"])
def test_a_target_is_named_by_its_service(url: str) -> None:
    assert cloning.service("https://cdi-upload-x.shop.svc:8443/v1beta1/upload") == ("shop", "cdi-upload-x")
    with pytest.raises(Terminal):
        cloning.service(url)


@pytest.mark.parametrize(("component", "kind"), [("cdi-upload-server", Upload), ("cdi-clone-source", Clone)])
def test_both_pods_are_read(component: str, kind: type[work.Work]) -> None:
    pod = {
        "metadata": {
            "name": "pod", "namespace": "shop",
            "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": component},
        },
        "spec": {
            "containers": [{"name": "c", "env": [{"name": "UPLOAD_IMAGE_SIZE", "value": "1Gi"}]}],
            "volumes": [{"name": "cdi-data-vol", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }  # fmt: skip
    found = work.of(msgspec.convert(pod, Pod))
    assert isinstance(found, kind)
    assert found.claim == "data"
