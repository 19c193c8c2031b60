"""What a golden image is called, and what is believed to be one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.catalogue import HttpSource, RegistrySource
from kubelet_bridge.model.goldenimage import DataSource, Disk, Origin, OriginKind, Shelf
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, MANAGED_BY, is_dns_label
from kubelet_bridge.translate.catalogue import golden, readymade
from tests.support.catalogue import CATALOGUE

URL = "https://a.example/disk.qcow2"
DEBIAN, CENTOS = CATALOGUE.images["debian-12"], CATALOGUE.images["centos-stream-10"]
PLACES = ("cozy-public", "os-images")


@given(st.text())
def test_any_url_has_a_name_that_an_object_may_have(path: str) -> None:
    for source in (HttpSource(f"https://a.example/{path}"), RegistrySource(f"docker://a/{path}")):
        assert is_dns_label(golden.name(source))


@given(st.text(), st.text(), st.sampled_from(["", "md5:" + "0" * 32, "md5:" + "1" * 32]))
def test_the_same_source_has_the_same_name_and_another_another(one: str, other: str, checksum: str) -> None:
    first, second = HttpSource(URL + one, checksum), HttpSource(URL + other, checksum)
    assert (golden.name(first) == golden.name(second)) == (one == other)
    assert golden.name(first) == golden.name(HttpSource(URL + one, checksum))


def test_a_checksum_makes_it_another_source() -> None:
    assert golden.name(HttpSource(URL)) != golden.name(HttpSource(URL, "md5:" + "0" * 32))


def test_a_name_begins_with_what_people_know() -> None:
    assert golden.name(HttpSource("https://a.example/x/Rocky-9.latest.qcow2/?y=1")).startswith("rocky-9-latest-qcow2-")
    assert golden.name(RegistrySource("docker://quay.io/containerdisks/fedora:44")).startswith("fedora-44-")


@pytest.mark.parametrize(
    ("labels", "annotations", "ours"),
    [
        ({LABEL_MANAGED_BY: MANAGED_BY}, {golden.ANNOTATION_SOURCE: golden.identity(HttpSource(URL))}, True),
        ({LABEL_MANAGED_BY: MANAGED_BY}, {golden.ANNOTATION_SOURCE: golden.identity(HttpSource(URL + "x"))}, False),
        ({LABEL_MANAGED_BY: MANAGED_BY}, {}, False),
        ({}, {golden.ANNOTATION_SOURCE: golden.identity(HttpSource(URL))}, False),
    ],
)
def test_a_disk_is_ours_by_both_marks(labels: dict[str, str], annotations: dict[str, str], *, ours: bool) -> None:
    disk = Disk(namespace="n", name=golden.name(HttpSource(URL)), labels=labels, annotations=annotations)
    assert golden.is_ours(disk, HttpSource(URL)) is ours


def cozystack(name: str = "debian-12", /, namespace: str = "cozy-public", *, ready: bool = True, **notes: str) -> Disk:
    annotations = {f"vm-default-images.cozystack.io/{key.replace('_', '-')}": text for key, text in notes.items()}
    return Disk(namespace=namespace, name=f"vm-default-images-{name}", annotations=annotations, ready=ready, size=10)


def found(*disks: Disk, sources: tuple[DataSource, ...] = (), image: str = "debian-12") -> list[Origin]:
    return list(readymade.origins(CATALOGUE.images[image], CATALOGUE, Shelf(disks, sources), PLACES))


@pytest.mark.parametrize(
    "disk",
    [cozystack(), cozystack("Debian_12"), cozystack("x", os_name="Debian", os_version="12", architecture="amd64"),
     cozystack("x", name="debian-bookworm")],
)  # fmt: skip
def test_cozystacks_disks_are_known_by_name_or_annotations(disk: Disk) -> None:
    assert found(disk) == [Origin(OriginKind.CLAIM, "cozy-public", disk.name, 10)]


@pytest.mark.parametrize(
    "disk",
    [cozystack("debian-11"), cozystack(architecture="arm64"), cozystack(ready=False), cozystack(namespace="shop"),
     cozystack("debian"), msgspec.structs.replace(cozystack(), name="debian-12"),
     msgspec.structs.replace(cozystack(), deleting=True)],
)  # fmt: skip
def test_what_is_another_or_not_to_be_believed_is_passed_over(disk: Disk) -> None:
    assert found(disk) == []


def test_data_sources_are_known_by_the_catalogues_word_for_them() -> None:
    good = DataSource(namespace="os-images", name="centos-stream10", ready=True)
    for other in (
        msgspec.structs.replace(good, ready=False),
        msgspec.structs.replace(good, namespace="shop"),
        msgspec.structs.replace(good, name="centos-stream9"),
    ):
        assert found(sources=(other,), image="centos-stream-10") == []
    assert found(sources=(good,), image="centos-stream-10") == [
        Origin(OriginKind.DATA_SOURCE, "os-images", "centos-stream10")
    ]


def test_namespaces_are_asked_in_their_order() -> None:
    source = DataSource(namespace="os-images", name="debian12", ready=True)
    assert [one.namespace for one in found(cozystack(), sources=(source,))] == ["cozy-public", "os-images"]
    assert [one.namespace for one in found(cozystack(namespace="os-images"), sources=(source,))] == ["os-images"] * 2


def test_nothing_goes_before_the_source_that_the_cluster_names() -> None:
    own = msgspec.structs.replace(DEBIAN, own_source=True)
    assert not list(readymade.origins(own, CATALOGUE, Shelf((cozystack(),)), PLACES))
