from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Origin, OriginKind
from kubelet_bridge.model.meta import PodKey, is_dns_label, machine_key
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.annotations import ROOT_DISK_SIZE
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage, ImageKind
from kubelet_bridge.translate.support import CannotTranslate
from tests.support.catalogue import CATALOGUE
from tests.support.pods import container, pod, snapshot

GI = 2**30
BOOT = BootImage(ImageKind.CATALOGUE, "debian-12", CATALOGUE.images["debian-12"])
URL = BootImage(ImageKind.HTTP, "https://a.example/x")
DISKS = ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge")
STORAGE = "spec.containers[0].resources.{}[ephemeral-storage]"


def annotated(size: str, request: str = "") -> Pod:
    resources = {"requests": {"ephemeral-storage": request}} if request else {}
    containers = [{"name": "app", "image": "debian-12", "resources": resources}]
    return pod({"containers": containers}, annotations={ROOT_DISK_SIZE: size})


def asking(**resources: str) -> Pod:
    return container(resources={kind: {"ephemeral-storage": size} for kind, size in resources.items()})


@pytest.mark.parametrize(
    ("of", "wanted", "fields"),
    [
        (annotated("20Gi", request="8Gi"), 20 * GI, (rootdisk.SIZE_FIELD,)),
        (annotated("", request="8Gi"), 8 * GI, (STORAGE.format("requests"),)),
        (asking(limits="9Gi"), 9 * GI, (STORAGE.format("limits"),)),
        (pod(), 4 * GI, ()),
    ],
)
def test_the_annotation_goes_before_the_request_and_that_before_the_catalogue(
    of: Pod, wanted: int, fields: tuple[str, ...]
) -> None:
    assert rootdisk.size(of, BOOT) == rootdisk.RootSize(wanted, fields)


def test_of_an_image_at_a_url_nothing_is_known() -> None:
    assert rootdisk.size(pod(), URL).wanted == 10 * GI
    assert rootdisk.size(annotated("1Gi"), URL).wanted == GI


@pytest.mark.parametrize(
    ("of", "field", "reason"),
    [
        (annotated("big"), rootdisk.SIZE_FIELD, "'big' is not a Kubernetes quantity"),
        (annotated("0"), rootdisk.SIZE_FIELD, "0 is no size of a disk"),
        (annotated("-5Gi"), rootdisk.SIZE_FIELD, "-5Gi is no size of a disk"),
        (annotated("8Ei"), rootdisk.SIZE_FIELD, "8Ei is no size of a disk"),
        (annotated("1Gi"), rootdisk.SIZE_FIELD, "1Gi is smaller than debian-12, which needs a disk of 4Gi"),
        (asking(requests="2Gi"), STORAGE.format("requests"), "2Gi is smaller than debian-12"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_its_field(of: Pod, field: str, reason: str) -> None:
    with pytest.raises(CannotTranslate) as caught:
        rootdisk.size(of, BOOT)
    (refused,) = caught.value.refusals
    assert refused.field == field
    assert refused.reason.startswith(reason)


@given(st.integers(1, 2**50), st.integers(1, 2**50))
def test_a_disk_is_never_smaller_than_what_it_is_cloned_of(wanted: int, least: int) -> None:
    assert rootdisk.RootSize(wanted).on(least, "x") == max(wanted, least)
    if wanted < least:
        with pytest.raises(CannotTranslate):
            rootdisk.RootSize(wanted, ("f",)).on(least, "x")
    else:
        assert rootdisk.RootSize(wanted, ("f",)).on(least, "x") == wanted


def made(of: Pod, origin: Origin) -> dict[str, Any]:
    return rootdisk.clone(of, snapshot(of).key, BOOT, origin, DISKS, "kubelet-bridge")


def test_a_clone_is_as_large_as_its_origin_where_the_pod_does_not_mind() -> None:
    origin = Origin(OriginKind.CLAIM, "images", "debian", 6 * GI)
    assert made(pod(), origin)["spec"]["storage"] == {"resources": {"requests": {"storage": "6Gi"}}}
    with pytest.raises(CannotTranslate, match=r"5Gi is smaller than debian-12 \(images/debian\)"):
        made(annotated("5Gi"), origin)


def test_a_disk_goes_away_with_its_pod() -> None:
    head = made(pod(), Origin(OriginKind.CLAIM, "images", "debian"))["metadata"]
    assert [owner["uid"] for owner in head["ownerReferences"]] == [snapshot(pod()).key.uid]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True))
def test_every_pod_incarnation_machine_and_image_has_a_disk_of_its_own(name: str) -> None:
    one, other = PodKey("shop", name, "uid-1"), PodKey("shop", name, "uid-2")
    keys = [one, other, machine_key(one, "a"), machine_key(one, "b")]
    names = {rootdisk.name(key, boot) for key in keys for boot in (BOOT, URL)}
    assert len(names) == 8
    assert all(map(is_dns_label, names))
