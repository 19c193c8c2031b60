"""By what else Pods are looked for: what they tolerate, and what they say of their overhead."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.kube.objectcache import Cached
from kubelet_bridge.kube.outages import by_outage
from kubelet_bridge.kube.overheads import by_overhead
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.translate.outage import DEFAULT_SECONDS, TAINTS

SHORT = {"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_SECONDS}


def pod(spec: dict[str, Any], **metadata: Any) -> Cached:
    raw = msgspec.json.encode({"metadata": {"name": "web", **metadata}, "spec": spec})
    return Cached(msgspec.json.decode(raw, type=ObjectHead), raw)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"overhead": {"memory": "360Mi", "cpu": "250m"}}, {"memory", "cpu"}),
        ({}, set()),
        ({"containers": [{"name": "overhead"}]}, set()),
    ],
)
def test_overhead(spec: dict[str, Any], found: set[str]) -> None:
    assert set(by_overhead(pod(spec))) == found


def test_who_would_be_evicted() -> None:
    assert list(by_outage(pod({"tolerations": [SHORT]}))) == ["yes"]
    assert not list(by_outage(pod({"tolerations": [{**SHORT, "tolerationSeconds": 1}]})))
    assert not list(by_outage(pod({})))


def test_one_that_is_being_deleted_is_left_alone() -> None:
    assert not list(by_outage(pod({"tolerations": [SHORT]}, deletionTimestamp="2026-01-01T00:00:00Z")))
