"""Taking managedFields out, and nothing else."""

import msgspec
import pytest

from kubelet_bridge.kube.managedfields import without_managed_fields


def test_they_are_taken_out_of_the_metadata_only() -> None:
    body = {
        "kind": "ConfigMap", "metadata": {"name": "é", "managedFields": [{"manager": "a"}], "labels": {"x": "1"}},
        "data": {"managedFields": "kept", "number": 2**63, "text": 'a"b\\'},
    }  # fmt: skip
    slim = msgspec.json.decode(without_managed_fields(msgspec.json.encode(body)))
    assert slim == {**body, "metadata": {"name": "é", "labels": {"x": "1"}}}


@pytest.mark.parametrize(
    "raw",
    [b'{"metadata": {"name": "a"}}', b'{"data":{"managedFields":""}}', b'{"metadata":{"name":"\\"managedFields\\""}}'],
)
def test_what_has_none_stays_as_it_is(raw: bytes) -> None:
    assert without_managed_fields(raw) is raw


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        without_managed_fields(b'["managedFields"]')
