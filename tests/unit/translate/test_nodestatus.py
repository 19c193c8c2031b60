from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Node, NodeAddress
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.translate.nodestatus import (
    Health,
    NodeFacts,
    Resources,
    Trouble,
    build,
    kubelet_version,
    resources,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
FACTS = NodeFacts(
    addresses=[NodeAddress("InternalIP", "192.0.2.1")],
    port=10250,
    machine_id="6f1e2b0a",
    server_version="v1.36.3",
    bridge_version="0.1.0",
)
OFFERED = Resources({"cpu": "4"}, {"cpu": "4"})


def node(*, ready: str = "True", labels: dict[str, str] | None = None, **spec: Any) -> Node:
    amounts = {"cpu": "3920m", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    return msgspec.convert(
        {
            "metadata": {"labels": {"kubevirt.io/schedulable": "true"} if labels is None else labels},
            "spec": spec,
            "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": ready}]},
        },
        Node,
    )


def conditions(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in status["conditions"]}


def test_the_sum_of_nodes_that_can_take_a_vm() -> None:
    useless = [node(ready="Unknown"), node(unschedulable=True), node(labels={})]
    made = resources([node(), node(), *useless])
    assert made.capacity == {"cpu": "7840m", "memory": "16Gi", "ephemeral-storage": "200Gi", "pods": "220"}
    assert made.allocatable == made.capacity


def test_each_vm_costs_a_launcher() -> None:
    made = resources([node()], virtual_machines=4, overhead=Quantity.parse("512Mi"))
    assert made.capacity["memory"] == "8Gi"
    assert made.allocatable["memory"] == "6Gi"
    assert resources([node()], virtual_machines=1000).allocatable["memory"] == "0"


def test_what_is_configured_stands() -> None:
    made = resources([node()], virtual_machines=3, configured={"memory": "1Ti", "pods": 500, "cpu": ""})
    assert made.capacity == {"cpu": "3920m", "memory": "1Ti", "ephemeral-storage": "100Gi", "pods": "500"}
    assert made.allocatable == made.capacity
    with pytest.raises(InvalidQuantity):
        resources([], configured={"cpu": "many"})


def test_a_healthy_node() -> None:
    status = build(FACTS, OFFERED, Health())
    found = {type_: one["status"] for type_, one in conditions(status).items()}
    assert found == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "NetworkUnavailable": "False",
        "KubeVirtAvailable": "True", "IntentStoreHealthy": "True", "GuestAgentsServed": "True",
    }  # fmt: skip
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert status["nodeInfo"]["kubeletVersion"] == "v1.36.3-kubelet-bridge-0.1.0"


def test_trouble_is_told_where_it_is() -> None:
    health = Health(kubevirt=Trouble("NoSchedulableNode", "no node of KubeVirt is Ready"))
    found = conditions(build(FACTS, OFFERED, health))
    assert found["KubeVirtAvailable"]["status"] == "False"
    assert found["KubeVirtAvailable"]["reason"] == "NoSchedulableNode"


@pytest.mark.parametrize("server", ["v1.36.3", "v1.36.3+k3s1"])
def test_the_version_is_one_that_tools_can_compare(server: str) -> None:
    assert kubelet_version(server, "0.1.0") == "v1.36.3-kubelet-bridge-0.1.0"
