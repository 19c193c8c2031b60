from typing import Any

import msgspec
import pytest

from kubelet_bridge.errors import SettingsError, Terminal
from kubelet_bridge.node.identity import (
    ANNOTATION_ATTACH_DETACH,
    LABEL_KUBEVIRT_SCHEDULABLE,
    LABEL_VIRTUAL_NODE,
    FoundNode,
    NodeIdentity,
    Taint,
    refuse_foreign,
    without_restricted,
)

OURS = NodeIdentity(name="vnode", labels={"team": "a"})
TAINT = {"key": "virtual-kubelet.io/provider", "value": "kubevirt", "effect": "NoSchedule"}


def found(
    *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None, version: str = "",
) -> FoundNode:  # fmt: skip
    node: dict[str, Any] = {
        "metadata": {
            "name": "vnode", "uid": "u1", "resourceVersion": "7", "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"taints": taints or []},
        "status": {"nodeInfo": {"kubeletVersion": version}},
    }  # fmt: skip
    return msgspec.convert(node, FoundNode)


def test_a_new_node_is_marked_for_schedulers_and_load_balancers() -> None:
    manifest = msgspec.to_builtins(OURS.manifest({"capacity": {}}))
    assert manifest["metadata"]["labels"] == {
        "type": "virtual-kubelet",
        "kubernetes.io/hostname": "vnode",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/role": "agent",
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        LABEL_VIRTUAL_NODE: "true",
        "team": "a",
    }
    assert manifest["spec"] == {"taints": [TAINT]}
    assert manifest["status"] == {"capacity": {}}


def test_without_a_taint() -> None:
    assert NodeIdentity(name="vnode", taint=None).manifest({})["spec"] == {"taints": []}


@pytest.mark.parametrize(
    "settings", [{"labels": {LABEL_KUBEVIRT_SCHEDULABLE: "true"}}, {"annotations": {ANNOTATION_ATTACH_DETACH: "false"}}]
)
def test_what_breaks_others_cannot_be_configured(settings: dict[str, dict[str, str]]) -> None:
    with pytest.raises(SettingsError, match="must not be on the virtual node"):
        NodeIdentity(name="vnode", **settings)  # type: ignore[arg-type]


def test_adopting_adds_what_is_missing_and_keeps_the_rest() -> None:
    foreign = {"key": "maintenance", "effect": "NoExecute"}
    patch = OURS.adoption(found(labels={**OURS.all_labels, "team": "b", "x": "y"}, taints=[foreign]))
    assert patch == {
        "metadata": {"uid": "u1", "labels": {"team": "a"}, "resourceVersion": "7"},
        "spec": {"taints": [foreign, TAINT]},
    }


def test_adopting_what_is_right_writes_nothing() -> None:
    assert OURS.adoption(found(labels=OURS.all_labels, taints=[{**TAINT, "timeAdded": "2026-01-01T00:00:00Z"}])) is None


def test_adopting_corrects_our_taint_and_nobody_elses() -> None:
    same_key = {**TAINT, "effect": "NoExecute"}
    patch = OURS.adoption(found(labels=OURS.all_labels, taints=[{**TAINT, "value": "old"}, same_key]))
    assert patch is not None
    assert patch["spec"] == {"taints": [same_key, TAINT]}
    untainted = NodeIdentity(name="vnode", taint=None)
    assert untainted.adoption(found(labels=untainted.all_labels, taints=[TAINT])) is None


def test_adopting_takes_the_attach_detach_annotation_away() -> None:
    patch = OURS.adoption(
        found(labels=OURS.all_labels, taints=[TAINT], annotations={ANNOTATION_ATTACH_DETACH: "true", "mine": "1"})
    )
    assert patch == {"metadata": {"uid": "u1", "annotations": {ANNOTATION_ATTACH_DETACH: None}}}


@pytest.mark.parametrize(
    "node",
    [
        found(),
        found(version="v1.36.3-kubelet-bridge-0.1.0"),
        found(labels={LABEL_VIRTUAL_NODE: "true"}, version="v1.36.3"),
    ],
)
def test_ours_and_nobodys_are_adopted(node: FoundNode) -> None:
    refuse_foreign(node)
    assert OURS.adoption(node) is not None


@pytest.mark.parametrize("labels", [{}, {"type": "virtual-kubelet"}, {LABEL_VIRTUAL_NODE: "false"}])
def test_another_kubelets_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(Terminal, match=r"reported by another kubelet \(v1.36.3\)") as caught:
        refuse_foreign(found(labels=labels, version="v1.36.3"))
    assert caught.value.reason == "NodeNameTaken"


def test_a_nodes_own_identity_may_not_set_everything() -> None:
    manifest = without_restricted(NodeIdentity(name="n", labels={"a.k8s.io/x": "1", "example.org/y": "2"}).manifest({}))
    assert sorted(manifest["metadata"]["labels"]) == [
        "example.org/y", LABEL_VIRTUAL_NODE, "kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os",
        "node.kubernetes.io/exclude-from-external-load-balancers", "type",
    ]  # fmt: skip
    assert manifest["spec"]["taints"] == [Taint("virtual-kubelet.io/provider", "kubevirt", "NoSchedule")]
    labels = {"kubernetes.io/role": "agent", "b": "c"}
    patch = {"metadata": {"uid": "u", "resourceVersion": "7", "labels": labels}, "spec": {"taints": []}}
    assert without_restricted(patch) == {"metadata": {"uid": "u", "labels": {"b": "c"}}}
