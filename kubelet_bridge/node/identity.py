"""What our Node is called and how it is marked: labels, taint, and which Node of that name is not ours. Pure."""

from typing import Any

import msgspec

from kubelet_bridge.errors import SettingsError, Terminal
from kubelet_bridge.model.meta import LABEL_VIRTUAL_NODE, ObjectMeta
from kubelet_bridge.model.resources import NODES

KUBELET_VERSION_MARK = "kubelet-bridge"
"""In ``nodeInfo.kubeletVersion`` of every Node of ours."""

# Opting in to attach/detach by its mere presence: volumes of our Pods are attached where their launchers run
# (pkg/controller/volume/attachdetach, GetNodesToUpdateStatusFor).
ANNOTATION_ATTACH_DETACH = "volumes.kubernetes.io/controller-managed-attach-detach"
# KubeVirt would schedule launchers to a node that cannot run them.
LABEL_KUBEVIRT_SCHEDULABLE = "kubevirt.io/schedulable"

Json = dict[str, Any]


class Taint(msgspec.Struct, frozen=True):
    """A taint of our Node."""

    key: str
    value: str
    effect: str


PROVIDER_TAINT = Taint("virtual-kubelet.io/provider", "kubevirt", "NoSchedule")


class NodeIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The part of our Node that is written when it is created or adopted, and then left to its users.

    Raises:
        SettingsError: a label or annotation was configured that breaks storage or KubeVirt.
    """

    name: str
    architecture: str = "amd64"
    taint: Taint | None = PROVIDER_TAINT
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    def __post_init__(self) -> None:
        for name, given in ((LABEL_KUBEVIRT_SCHEDULABLE, self.labels), (ANNOTATION_ATTACH_DETACH, self.annotations)):
            if name in given:
                raise SettingsError(f"{name} must not be on the virtual node")

    @property
    def all_labels(self) -> dict[str, str]:
        """Ours and the configured ones; those win."""
        return {
            "type": "virtual-kubelet",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/arch": self.architecture,
            "kubernetes.io/os": "linux",
            "kubernetes.io/role": "agent",
            "node.kubernetes.io/exclude-from-external-load-balancers": "true",
            LABEL_VIRTUAL_NODE: "true",
            **self.labels,
        }

    def manifest(self, status: Json) -> Json:
        """The Node as it is created."""
        return {
            "apiVersion": NODES.api_version,
            "kind": NODES.kind,
            "metadata": {"name": self.name, "labels": self.all_labels, "annotations": self.annotations},
            "spec": {"taints": [self.taint] if self.taint is not None else []},
            "status": status,
        }

    def adoption(self, node: "FoundNode") -> Json | None:
        """The strategic merge patch that makes ``node`` ours, or None when nothing is missing.

        Taints are one value to the API: they are written whole, with the resourceVersion they were read at.
        """
        labels = {key: value for key, value in self.all_labels.items() if node.metadata.labels.get(key) != value}
        annotations: Json = {
            key: value for key, value in self.annotations.items() if node.metadata.annotations.get(key) != value
        }
        if ANNOTATION_ATTACH_DETACH in node.metadata.annotations:
            annotations[ANNOTATION_ATTACH_DETACH] = None
        metadata: Json = {"uid": node.metadata.uid}
        metadata |= {"labels": labels} if labels else {}
        metadata |= {"annotations": annotations} if annotations else {}
        patch: Json = {"metadata": metadata}
        if (taints := self._taints(node)) is not None:
            metadata["resourceVersion"] = node.metadata.resource_version
            patch["spec"] = {"taints": taints}
        return patch if len(metadata) > 1 or "spec" in patch else None

    def _taints(self, node: "FoundNode") -> list[Json] | None:
        if self.taint is None:
            return None
        ours: Json = msgspec.to_builtins(self.taint)
        same = {"key": self.taint.key, "effect": self.taint.effect}
        others = [one for one in node.spec.taints if not same.items() <= one.items()]
        if any(ours.items() <= one.items() for one in node.spec.taints):
            return None
        return [*others, ours]


class _NodeInfo(msgspec.Struct, rename="camel"):
    kubelet_version: str = ""


class _Status(msgspec.Struct, rename="camel"):
    node_info: _NodeInfo = msgspec.field(default_factory=_NodeInfo)


class _Spec(msgspec.Struct):
    taints: list[Json] = []


class FoundNode(msgspec.Struct):
    """A Node of our name, as far as telling whose it is needs."""

    metadata: ObjectMeta = ObjectMeta()
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def refuse_foreign(node: FoundNode) -> None:
    """See to it that nobody else's Node is adopted. One that no kubelet has reported on yet is free to take.

    Raises:
        Terminal: a real kubelet, or another virtual one, reports this Node.
    """
    version = node.status.node_info.kubelet_version
    if node.metadata.labels.get(LABEL_VIRTUAL_NODE) == "true" or KUBELET_VERSION_MARK in version or not version:
        return
    raise Terminal(
        f"Node {node.metadata.name!r} exists and is reported by another kubelet ({version}): choose another node name,"
        f" or delete that Node once its kubelet is gone",
        reason="NodeNameTaken",
    )


def without_restricted(patch: Json) -> Json:
    """``patch``, or a manifest, without what NodeRestriction refuses to a node's own identity.

    It may set few labels of Kubernetes' own domains (k8s.io/kubelet/pkg/apis/well_known_labels.go), and never change
    its taints once it exists.
    """
    metadata = {key: value for key, value in patch["metadata"].items() if key != "resourceVersion"}
    metadata["labels"] = {key: value for key, value in metadata.get("labels", {}).items() if not _restricted(key)}
    kept = {key: value for key, value in patch.items() if key != "spec" or "kind" in patch}
    return {**kept, "metadata": metadata}


_ALLOWED = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
    }
)  # fmt: skip


def _restricted(label: str) -> bool:
    domain = label.rpartition("/")[0]
    if label in _ALLOWED or any(_within(domain, own) for own in ("kubelet.kubernetes.io", "node.kubernetes.io")):
        return False
    return _within(domain, "kubernetes.io") or _within(domain, "k8s.io")


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")
