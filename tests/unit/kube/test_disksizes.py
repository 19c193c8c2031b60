"""How large a clone has to be: what CDI would compare, read from what stands behind a golden image."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.disksizes import DiskSizes, without_overhead
from kubelet_bridge.model.goldenimage import Origin, OriginKind
from kubelet_bridge.model.resources import Resource

GI, MIB = 2**30, 2**20
Json = dict[str, Any]
SOURCE = Origin(OriginKind.DATA_SOURCE, "os", "debian12")
CLAIM = Origin(OriginKind.CLAIM, "os", "disk")
PVC = {"pvc": {"namespace": "images", "name": "disk"}}


class Api(Client):
    """Answers by path; what it does not know is 404."""

    def __init__(self, answers: dict[str, Json | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str | None, name: str, **_: Any) -> bytes:
        path = f"{namespace}/{resource.plural}/{name}"
        self.asked.append(path)
        answer = self.answers.get(path, NotFound(404, "NotFound", path))
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)


def claim(size: str, mode: str = "Filesystem", storage_class: str = "") -> Json:
    requests = {"requests": {"storage": size}}
    return {"spec": {"resources": requests, "volumeMode": mode, "storageClassName": storage_class}}


def overhead(share: str, **classes: str) -> Json:
    return {"status": {"filesystemOverhead": {"global": share, "storageClass": classes}}}


async def size(origin: Origin, **answers: Any) -> int:
    return await DiskSizes(Api({path.replace("__", "/"): answer for path, answer in answers.items()})).of(origin)


@pytest.mark.parametrize("source", [{"status": {"source": PVC}}, {"spec": {"source": PVC}},
    {"spec": {"source": {"dataSource": {"namespace": "os", "name": "x"}}}, "status": {"source": PVC}}])  # fmt: skip
async def test_a_data_source_is_as_large_as_the_claim_it_stands_for(source: Json) -> None:
    assert (
        await size(
            SOURCE, os__datasources__debian12=source, images__persistentvolumeclaims__disk=claim("30Gi", "Block")
        )
        == 30 * GI
    )


@pytest.mark.parametrize(
    ("request_", "config", "inside"),
    [
        ("34144990004", overhead("0.06"), 30 * GI),  # what CDI asks for itself, of a DataVolume of 30Gi
        ("34144990004", None, 30 * GI),
        ("33Gi", overhead("0.1"), 30 * GI),
        ("30Gi", overhead("0.06", fast="0"), 30 * GI),
        ("34144990004", overhead("nonsense"), 30 * GI),
    ],
)
async def test_a_claim_with_a_file_system_holds_less_than_it_asks_for(
    request_: str, config: Json | None, inside: int
) -> None:
    there: dict[str, Any] = {"None__cdiconfigs__config": config} if config else {}
    assert await size(CLAIM, os__persistentvolumeclaims__disk=claim(request_, storage_class="fast"), **there) == inside


async def test_a_snapshot_is_as_large_as_what_is_restored_of_it() -> None:
    source = {"status": {"source": {"snapshot": {"namespace": "images", "name": "s"}}}}
    there = {"status": {"restoreSize": "10Gi"}}
    assert await size(SOURCE, os__datasources__debian12=source, images__volumesnapshots__s=there) == 10 * GI
    assert await size(SOURCE, os__datasources__debian12=source, images__volumesnapshots__s={}) == 0


@pytest.mark.parametrize("error", [NotFound(404, "NotFound", "x"), Forbidden(403, "Forbidden", "x")])
async def test_what_we_may_not_read_has_no_size(error: Exception) -> None:
    assert await size(SOURCE, os__datasources__debian12=error) == 0
    assert await size(CLAIM, os__persistentvolumeclaims__disk=error) == 0
    assert await size(SOURCE, os__datasources__debian12={"spec": {"source": PVC}}) == 0


async def test_many_pods_of_one_image_ask_once() -> None:
    api = Api({"os/persistentvolumeclaims/disk": claim("4Gi", "Block")})
    sizes = DiskSizes(api)
    assert [await sizes.of(CLAIM) for _ in range(3)] == [4 * GI] * 3
    assert len(api.asked) == 1


@given(st.integers(1, 10_000_000 * MIB), st.integers(0, 500))
def test_nothing_is_larger_than_cdi_takes_it_for(image: int, thousandths: int) -> None:
    """The claim that CDI makes for an image is no larger than what it would make for a clone of the size found."""

    def required(size: int) -> int:
        aligned = -(-size // MIB) * MIB
        return math.ceil(aligned * (1 + thousandths / 1000))

    found = without_overhead(required(image), f"{thousandths / 1000}")
    assert found <= -(-image // MIB) * MIB
    assert required(found + MIB) >= required(image)
