import gzip

import msgspec
import pytest

from kubelet_bridge.model.core import ConfigMap, Pod
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.environment import references
from kubelet_bridge.translate.userdata import Reference, documents, is_wanted, reference
from tests.support.pods import config_map, pod, secret


def annotated(text: str) -> Pod:
    return pod(annotations={"kubelet-bridge.io/cloud-init": text})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mine", Reference("Secret", "mine")),
        ("secret/mine", Reference("Secret", "mine")),
        ("secret/mine/first.yaml", Reference("Secret", "mine", "first.yaml")),
        ("configmap/mine/user-data", Reference("ConfigMap", "mine", "user-data")),
        (" configmap/mine ", Reference("ConfigMap", "mine")),
        ("service/mine", None),
        ("mine/key", None),
        ("secret/mine/", None),
        ("secret/mine/a/b", None),
        ("secret/mine/..\x00", None),
        ("", None),
    ],
)
def test_what_the_annotation_names(text: str, found: Reference | None) -> None:
    assert reference(annotated(text)) == found
    assert is_wanted(annotated(text)) == bool(text)


def test_the_object_named_is_read() -> None:
    assert references(annotated("configmap/mine")) == ({"mine"}, set())
    assert references(annotated("secret/mine")) == (set(), {"mine"})
    assert references(annotated("secret/../nodes")) == (set(), set())


@pytest.mark.parametrize("key", ["userdata", "userData", "user-data"])
def test_the_usual_keys_are_found(key: str) -> None:
    assert documents(annotated("mine"), Inputs(secrets={"mine": secret("mine", **{key: "x"})})).user_data == b"x"


def test_network_and_vendor_documents_come_with_it() -> None:
    own = secret("mine", special="user", **{"network-config": "net", "vendordata": "vendor"})
    found = documents(annotated("secret/mine/special"), Inputs(secrets={"mine": own}))
    assert (found.user_data, found.network_data, found.vendor_data) == (b"user", b"net", b"vendor")


def test_compressed_documents_come_from_binary_data() -> None:
    own = msgspec.structs.replace(ConfigMap(), binary_data={"userdata": gzip.compress(b"#!/bin/sh")})
    assert documents(annotated("configmap/mine"), Inputs({"mine": own})).user_data[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("mine", Inputs(secrets={"mine": None}), 'secret "mine" not found'),
        ("configmap/mine", Inputs(), 'configmap "mine" not found'),
        ("mine", Inputs(secrets={"mine": secret("mine", other="x")}), "couldn't find key userdata in Secret shop/mine"),
        (
            "configmap/mine/a",
            Inputs({"mine": config_map("mine", userdata="x")}),
            "couldn't find key a in ConfigMap shop/mine",
        ),
    ],
)
def test_what_is_missing_is_said_as_a_kubelet_says_it(text: str, inputs: Inputs, message: str) -> None:
    found = documents(annotated(text), inputs)
    assert found.missing == (message,)
    assert [note.message for note in found.notes] == [message]


def test_the_content_is_in_no_representation() -> None:
    own = Inputs(secrets={"mine": secret("mine", userdata="password: hunter2")})
    assert "hunter2" not in repr(documents(annotated("mine"), own))
