"""Where the VM may run: what the Pod asks of nodes, less what only our own Node satisfies.

The Pod is already bound to our Node, so each of its selectors held there. Those that speak of the virtual node itself
would keep the launcher off every real one. Selectors of other Pods' labels (affinity between Pods, topology spread) are
left out: launchers carry none of the Pods' labels, so they would find nobody.
"""

from typing import Any

import msgspec

from kubelet_bridge.model.core import PodSpec, Toleration
from kubelet_bridge.model.meta import PREFIX
from kubelet_bridge.translate.config import BridgeConfig

HOSTNAME_LABEL = "kubernetes.io/hostname"
DEFAULT_SCHEDULER = "default-scheduler"

# Every Pod gets these from admission, the launcher its own.
_NODE_HEALTH_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

Term = dict[str, Any]


def build(spec: PodSpec, config: BridgeConfig) -> dict[str, Any]:
    """The scheduling fields of the VMI's spec, those that are left."""
    fields = {
        "nodeSelector": {key: value for key, value in spec.node_selector.items() if not _virtual(key, value, config)},
        "affinity": _affinity(spec.affinity or {}, config),
        "tolerations": [msgspec.to_builtins(one) for one in spec.tolerations if _concerns_launcher(one, config)],
        "schedulerName": spec.scheduler_name if spec.scheduler_name != DEFAULT_SCHEDULER else "",
        "priorityClassName": spec.priority_class_name,
    }
    return {field: value for field, value in fields.items() if value}


def _virtual(key: str, value: str, config: BridgeConfig) -> bool:
    """Whether ``key=value`` is a label that our Node has and no real one does."""
    if key == HOSTNAME_LABEL:
        return value == config.node_name
    return key.startswith(f"{PREFIX}/") or config.virtual_labels.get(key) == value


def _concerns_launcher(toleration: Toleration, config: BridgeConfig) -> bool:
    """A wildcard does not count: it brings Pods onto virtual nodes, and must not take VMs to every other taint."""
    return toleration.key not in ("", config.taint_key, *_NODE_HEALTH_TAINTS)


def _affinity(affinity: dict[str, Any], config: BridgeConfig) -> dict[str, Any]:
    of_nodes = affinity.get("nodeAffinity") or {}
    required = of_nodes.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [_without_virtual(term, config) for term in required.get("nodeSelectorTerms") or [] if term]
    preferred = [
        {**one, "preference": preference}
        for one in of_nodes.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        if (preference := _without_virtual(one.get("preference") or {}, config))
    ]
    kept: dict[str, Any] = {}
    # Terms are alternatives: one that our Node satisfies by itself leaves nothing to ask of another node.
    if terms and all(terms):
        kept["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if preferred:
        kept["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    return {"nodeAffinity": kept} if kept else {}


def _without_virtual(term: Term, config: BridgeConfig) -> Term:
    labels = [one for one in term.get("matchExpressions") or [] if not _about_virtual(one, config)]
    fields = [one for one in term.get("matchFields") or [] if not _about_name(one, config)]
    return {key: found for key, found in (("matchExpressions", labels), ("matchFields", fields)) if found}


def _about_virtual(requirement: Term, config: BridgeConfig) -> bool:
    key, values = str(requirement.get("key")), requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return any(_virtual(key, str(value), config) for value in values)
        case "Exists":
            return key.startswith(f"{PREFIX}/") or key in config.virtual_labels
        case _:
            return False


def _about_name(requirement: Term, config: BridgeConfig) -> bool:
    named = requirement.get("key") == "metadata.name" and requirement.get("operator") == "In"
    return named and config.node_name in (requirement.get("values") or [])
