"""The status of our Node: what the KubeVirt nodes behind it can still take, and what the bridge says of its own health.

Condition reasons and messages are the kubelet's (``pkg/kubelet/nodestatus/setters.go``), which tools know.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubelet_bridge.model.core import Node, NodeAddress
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.launcher import holds

LABEL_SCHEDULABLE = "kubevirt.io/schedulable"
DEFAULT_OVERHEAD = Quantity.parse("360Mi")
_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
EXTEND_WEBSOCKETS = "ExtendWebSocketsToKubelet"
"""WebSockets may be passed on to us as they are (KEP-4006), which the API server does from 1.36 on."""


class Resources(msgspec.Struct, frozen=True):
    """``capacity`` and ``allocatable`` as canonical quantities by resource."""

    capacity: dict[str, str]
    allocatable: dict[str, str]


class Trouble(msgspec.Struct, frozen=True):
    """Why a condition does not hold."""

    reason: str
    message: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong; None where nothing is.

    Attributes:
        kubevirt: why no VM can be made now. Pods that run go on running, so the Node stays Ready.
        intent_store: why nothing new can be promised.
        guests: why agents in guests cannot be served.
    """

    kubevirt: Trouble | None = None
    intent_store: Trouble | None = None
    guests: Trouble | None = None


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same while the daemon runs.

    Attributes:
        addresses: how the API server reaches us; one that it cannot resolve must not be among them.
        port: of the kubelet API.
        machine_id: stands for the machine, the system and the boot; it stays the same for one Node object.
        server_version: ``gitVersion`` of the API server.
        bridge_version: ours.
        kubevirt_version: KubeVirt's; empty while unknown.
    """

    addresses: list[NodeAddress]
    port: int
    machine_id: str
    server_version: str
    bridge_version: str
    kubevirt_version: str = ""
    architecture: str = "amd64"


def resources(
    nodes: Iterable[Node],
    *,
    virtual_machines: int = 0,
    overhead: Quantity = DEFAULT_OVERHEAD,
    configured: Mapping[str, str | int] | None = None,
) -> Resources:
    """What the schedulable KubeVirt nodes have together.

    The scheduler counts what our Pods ask for. What their launchers need beside that it cannot know: so much memory is
    missing from ``allocatable`` for each VM there is.

    Args:
        nodes: every Node of the cluster.
        virtual_machines: how many VMs of ours there are.
        overhead: memory that a launcher takes beside the guest's.
        configured: amounts that replace the sums, in both; empty ones and zeros do not.

    Raises:
        InvalidQuantity: a configured amount, or one of a Node, is no quantity.
    """
    usable = [node for node in nodes if schedulable(node)]
    fixed = {name: Quantity.parse(amount) for name, amount in (configured or {}).items() if amount}
    capacity = {name: fixed.get(name) or _sum(usable, name) for name in _RESOURCES}
    taken = overhead.value * virtual_machines
    memory = capacity["memory"]
    left = memory if "memory" in fixed else Quantity(max(memory.value - taken, memory.value * 0), memory.format)
    return Resources(_texts(capacity), _texts({**capacity, "memory": left}))


def schedulable(node: Node) -> bool:
    """Whether KubeVirt may put VMs there (virt-handler sets the label), and the scheduler launchers."""
    if node.spec.unschedulable or node.metadata.deletion_timestamp is not None:
        return False
    return node.metadata.labels.get(LABEL_SCHEDULABLE) == "true" and holds(node.status.conditions, "Ready")


def _sum(nodes: list[Node], name: str) -> Quantity:
    return Quantity.total(Quantity.parse(node.status.allocatable.get(name, 0)) for node in nodes)


def _texts(amounts: Mapping[str, Quantity]) -> dict[str, str]:
    return {name: amount.canonical() for name, amount in amounts.items()}


def build(facts: NodeFacts, offered: Resources, health: Health) -> dict[str, Any]:
    """The ``status`` of our Node, as JSON values, without Ready and the times of conditions: registration adds them."""
    return {
        "capacity": offered.capacity,
        "allocatable": offered.allocatable,
        "conditions": _conditions(health),
        "addresses": [{"type": one.type, "address": one.address} for one in facts.addresses],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "nodeInfo": _node_info(facts),
        "declaredFeatures": [EXTEND_WEBSOCKETS],
    }


def kubelet_version(server: str, bridge: str) -> str:
    """``v1.36.3-kubelet-bridge-0.1.0``: version checks of tools compare it with the API server's."""
    return f"{server.partition('+')[0]}-kubelet-bridge-{bridge}"


def _conditions(health: Health) -> list[dict[str, str]]:
    wanted = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("NetworkUnavailable", "False", "VirtualMachineNetwork", "launchers bring the network of their nodes"),
        _healthy("KubeVirtAvailable", health.kubevirt, "KubeVirtReady", "KubeVirt takes virtual machines"),
        _healthy("IntentStoreHealthy", health.intent_store, "StoreWritable", "accepted Pods are written down"),
        _healthy("GuestAgentsServed", health.guests, "GuestServerReady", "agents in guests can connect"),
    ]
    return [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in wanted]


def _healthy(type_: str, trouble: Trouble | None, reason: str, message: str) -> tuple[str, str, str, str]:
    if trouble is not None:
        return type_, "False", trouble.reason, trouble.message
    return type_, "True", reason, message


def _node_info(facts: NodeFacts) -> dict[str, str]:
    """Every field is required by the API; none may be missing."""
    return {
        "machineID": facts.machine_id,
        "systemUUID": facts.machine_id,
        "bootID": facts.machine_id,
        "kernelVersion": "",
        "osImage": f"kubelet-bridge {facts.bridge_version}",
        "containerRuntimeVersion": f"kubevirt://{facts.kubevirt_version or 'unknown'}",
        "kubeletVersion": kubelet_version(facts.server_version, facts.bridge_version),
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": facts.architecture,
    }
