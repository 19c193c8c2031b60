"""The Pods of this node, with the status that is true and not only the one that was written."""

from types import SimpleNamespace
from typing import cast

import msgspec

from kubelet_bridge.daemon.cachedpods import CachedPods
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.core import PodStatus
from tests.support.pods import UID, pod


def cached_pods() -> CachedPods:
    one = SimpleNamespace(head=pod().metadata, raw=msgspec.json.encode(pod()))
    known = {("shop", "web"): one}
    view = SimpleNamespace(pods=SimpleNamespace(get=lambda *where: known.get(where)))
    return CachedPods(cast(NodeView, view))


def test_a_pod_as_it_was_written() -> None:
    assert cached_pods().get("shop", "web") == pod()
    assert cached_pods().get("shop", "other") is None
    assert cached_pods().get("other", "web") is None


def test_what_could_not_be_written_counts() -> None:
    pods = cached_pods()
    pods.unwritten = {UID: PodStatus(phase="Failed")}.get
    found = pods.get("shop", "web")
    assert found is not None
    assert (found.metadata.uid, found.status.phase) == (UID, "Failed")
