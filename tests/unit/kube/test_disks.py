from typing import Any

import msgspec
import pytest

from kubelet_bridge.errors import AlreadyExists, Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.disks import DiskReader
from kubelet_bridge.model.goldenimage import DataSource, Disk, Shelf
from kubelet_bridge.model.resources import Resource


class Api(Client):
    """Answers by path; what it does not know is 404."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {path.replace("__", "/"): answer for path, answer in answers.items()}
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str | None, name: str, **_: Any) -> bytes:
        return self._answer(f"{namespace}/{resource.plural}/{name}")

    async def list(self, resource: Resource, namespace: str | None = None, **_: Any) -> bytes:
        return self._answer(f"{namespace}/{resource.plural}")

    async def request(self, method: str, path: str, **_: Any) -> bytes:
        return self._answer(f"{method} {path}")

    def _answer(self, path: str) -> bytes:
        self.asked.append(path)
        answer = self.answers.get(path, NotFound(404, "NotFound", path))
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)


def volume(phase: str = "", progress: str = "", spec: Any = None, **running: str) -> dict[str, Any]:
    conditions = [{"type": "Running", "status": "False", **running}] if running else []
    return {
        "metadata": {"name": "x", "namespace": "n"},
        "spec": spec or {"storage": {"resources": {"requests": {"storage": "4Gi"}}}},
        "status": {"phase": phase, "progress": progress, "conditions": conditions},
    }


async def disk(document: dict[str, Any]) -> Disk:
    found = await DiskReader(Api(n__datavolumes__x=document)).get("n", "x")
    assert found is not None
    return found


async def test_what_is_not_there() -> None:
    assert await DiskReader(Api()).get("n", "x") is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (volume(), "DataVolume x not taken up by CDI yet: is its controller running?"),
        (volume("ImportInProgress", "42.50%"), "DataVolume x ImportInProgress 42.50%"),
        (volume("ImportScheduled", "N/A"), "DataVolume x ImportScheduled"),
        (
            volume("ImportInProgress", "N/A", reason="Error", message="got 404"),
            "DataVolume x ImportInProgress: got 404",
        ),
        (volume("Succeeded", "100.0%", reason="Completed", message="done"), "DataVolume x Succeeded"),
    ],
)
async def test_words_are_cdis(document: dict[str, Any], words: str) -> None:
    assert (await disk(document)).words == words


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ({"storage": {"resources": {"requests": {"storage": "4Gi"}}}}, 4 * 2**30),
        ({"pvc": {"volumeMode": "Block", "resources": {"requests": {"storage": 1000}}}}, 1000),
        ({"pvc": {"resources": {"requests": {"storage": "31.8Gi"}}}}, 0),
        ({"source": {}}, 0),
        ({"storage": {"resources": {"requests": {"storage": "?"}}}}, 0),
    ],
)
async def test_sizes(spec: dict[str, Any], size: int) -> None:
    assert (await disk(volume(spec=spec))).size == size


async def test_the_checksum_is_that_which_the_api_server_has_kept() -> None:
    assert (await disk(volume(spec={"source": {"http": {"url": "u", "checksum": "md5:0"}}}))).checksum == "md5:0"
    assert (await disk(volume(spec={"source": {"pvc": {}}}))).checksum == ""


async def test_only_a_disk_that_is_full_is_ready() -> None:
    assert (await disk(volume("Succeeded"))).ready
    assert not (await disk(volume("CloneInProgress"))).ready
    going = volume("Succeeded")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await disk(going)).deleting


async def test_the_shelf_is_read_once_in_a_while_and_only_where_we_may() -> None:
    ready = [{"type": "Ready", "status": "True"}]
    api = Api(
        a__datavolumes={"items": [volume("Succeeded")]},
        a__datasources={"items": [
            {"metadata": {"name": "s", "namespace": "a"}, "status": {"conditions": ready}},
            {"metadata": {"name": "t", "namespace": "a"}},
        ]},
        b__datavolumes=Forbidden(403, "Forbidden", "no"),
        b__datasources=Forbidden(403, "Forbidden", "no"),
    )  # fmt: skip
    reader = DiskReader(api)
    shelf = await reader.shelf(["a", "b", "c"])
    assert shelf is await reader.shelf(["a", "b", "c"])
    assert len(api.asked) == 6
    assert [one.name for one in shelf.disks] == ["x"]
    assert shelf.data_sources == (
        DataSource(namespace="a", name="s", ready=True), DataSource(namespace="a", name="t"),
    )  # fmt: skip
    assert await reader.shelf([]) == Shelf()


async def test_a_disk_is_made_by_post() -> None:
    path = "POST /apis/cdi.kubevirt.io/v1beta1/namespaces/n/datavolumes"
    api = Api()
    api.answers[path] = {}
    await DiskReader(api).create("n", volume())
    api.answers[path] = AlreadyExists(409, "AlreadyExists", "x")
    with pytest.raises(AlreadyExists):
        await DiskReader(api).create("n", volume())
    assert api.asked == [path, path]
