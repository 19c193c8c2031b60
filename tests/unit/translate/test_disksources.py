"""What users write a disk begins with, and what a class may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.meta import is_dns_label
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE, datavolume_name, is_populators
from kubelet_bridge.model.volumesnapshot import ImageOffer, Origin, VolumeInputs
from kubelet_bridge.translate.storage.classparameters import ClassParameters, class_parameters
from kubelet_bridge.translate.storage.promise import promise
from kubelet_bridge.translate.storage.refusal import CannotProvision
from kubelet_bridge.translate.storage.sources import Blank, Download, Image, Source, Upload, download, parse
from tests.support.volumes import claim, storage_class


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("blank", Blank()), (" Blank ", Blank()), ("upload", Upload()), ("image: Ubuntu 24.04", Image("Ubuntu 24.04")),
        ("https://a.test/x.img", Download("https://a.test/x.img")),
        ("registry://a.test:5000/x:1", Download("docker://a.test:5000/x:1")),
    ],
)  # fmt: skip
def test_sources(text: str, source: Source) -> None:
    assert parse(text, ANNOTATION_SOURCE) == source


@pytest.mark.parametrize(
    "text",
    ["", "blank:x", "image:", "ftp://a.test/x", "http://", "http://a.test:port/", "https://[::1", "registry://",
     "https://a.test/a b", "/etc/passwd", "file:///x"],
)  # fmt: skip
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(CannotProvision, match=f"^{ANNOTATION_SOURCE}: "):
        parse(text, ANNOTATION_SOURCE)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(CannotProvision) as raised:
        parse("https://me:hunter2@a.test/x", ANNOTATION_SOURCE)
    assert "hunter2" not in raised.value.message


@given(st.text(max_size=40))
def test_any_text_is_a_source_or_refused_in_words(text: str) -> None:
    try:
        source = parse(text, ANNOTATION_SOURCE)
    except CannotProvision:
        return
    assert str(source)
    if isinstance(source, Download):
        ((kind, value),) = download(source).items()
        assert (kind in ("http", "registry"), value["url"]) == (True, source.url)


@given(st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", fullmatch=True), st.uuids())
def test_a_datavolumes_name_is_a_label_and_never_the_claims_own(name: str, uid: object) -> None:
    made = datavolume_name(name, str(uid))
    assert is_dns_label(made)
    assert made.endswith(str(uid)[:8])
    assert not is_populators(made)


@pytest.mark.parametrize("given_", [{"backingclass": "x"}, {"accessMode": "rwx"}, {"preallocation": "yes"}])
def test_a_typo_in_a_class_is_refused(given_: dict[str, str]) -> None:
    with pytest.raises(CannotProvision):
        class_parameters(given_)


def test_a_class_without_parameters_leaves_all_to_the_cluster() -> None:
    assert class_parameters({}) == ClassParameters()


@pytest.mark.parametrize(
    ("of", "inputs", "word"),
    [
        (claim(), VolumeInputs(), "is not there"),
        (claim(accessModes=["ReadWriteMany"]), VolumeInputs(storage_class()), "spec.accessModes"),
        (claim(size="0.5"), VolumeInputs(storage_class()), "spec.resources.requests.storage: 500m is less"),
        (claim(size="5Ei"), VolumeInputs(storage_class()), "spec.resources.requests.storage: 5Ei is more"),
        (claim(selector={"matchLabels": {"a": "b"}}), VolumeInputs(storage_class()), "spec.selector"),
        (claim(volumeAttributesClassName="gold"), VolumeInputs(storage_class()), "spec.volumeAttributesClassName"),
        (
            claim(accessModes=["ReadOnlyMany"]),
            VolumeInputs(storage_class(parameters={"accessMode": "ReadWriteOnce"})), "ReadOnlyMany",
        ),
        (
            claim(), VolumeInputs(storage_class(parameters={"backingClass": "x"}), backing=storage_class()),
            "no real class",
        ),
        (claim(annotations={"kubelet-bridge.io/source": "image:x"}), VolumeInputs(storage_class()), "no catalogue"),
        (
            claim(annotations={"kubelet-bridge.io/source": "image:x"}),
            VolumeInputs(storage_class(), image=ImageOffer({"source": {}}, "30Gi")), "20Gi is smaller than image",
        ),
        (
            claim(annotations={"kubelet-bridge.io/source": "image:x"}),
            VolumeInputs(storage_class(), image=ImageOffer(trouble="did you mean y?")), "did you mean y?",
        ),
        (
            claim(dataSource={"kind": "PersistentVolumeClaim", "name": "x"}), VolumeInputs(storage_class()),
            "is not there",
        ),
        (
            claim(dataSource={"kind": "PersistentVolumeClaim", "name": "x"}),
            VolumeInputs(storage_class(), origin=Origin(claim(metadata={"uid": "x"}))), "not bound yet",
        ),
        (
            claim(
                dataSource={"kind": "PersistentVolumeClaim", "name": "x"},
                annotations={"kubelet-bridge.io/source": "blank"},
            ),
            VolumeInputs(storage_class()), "two sources",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_said(of: object, inputs: VolumeInputs, word: str) -> None:
    with pytest.raises(CannotProvision) as raised:
        promise(of, inputs)  # type: ignore[arg-type]
    assert word in raised.value.message


def test_a_signed_urls_signature_is_in_no_event() -> None:
    signed = parse("https://images.test/a.qcow2?X-Signature=secret#part", ANNOTATION_SOURCE)
    assert isinstance(signed, Download)
    assert signed.url.endswith("?X-Signature=secret#part")
    assert str(signed) == "https://images.test/a.qcow2"
