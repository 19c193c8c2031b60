from typing import Any

import msgspec
import pytest

from kubelet_bridge.translate.resources import requests_by_container, vm_size
from tests.support.pods import CONFIG, container, instance, pod

MI = 2**20
GI = 2**30


@pytest.mark.parametrize(
    ("resources", "cpu", "memory"),
    [
        ({}, 1, GI),
        ({"requests": {"cpu": "100m", "memory": "256Mi"}}, 1, 256 * MI),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "2500m"}}, 3, GI),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}, 1, 2 * GI),
        ({"limits": {"cpu": "0", "memory": "0"}, "requests": {"cpu": 3, "memory": "4Gi"}}, 3, 4 * GI),
        ({"limits": {"memory": "1G"}}, 1, 954 * MI),
        ({"limits": {"memory": "1025Mi"}}, 1, 1026 * MI),
        ({"limits": {"memory": "1Ki"}}, 1, 128 * MI),
        ({"limits": {"cpu": 0.5, "memory": 2147483649}}, 1, 2 * GI + 2 * MI),
    ],
)  # fmt: skip
def test_limits_go_before_requests_before_defaults(resources: dict[str, Any], cpu: int, memory: int) -> None:
    size = vm_size(container(resources=resources), CONFIG)
    assert (size.cpu, size.memory) == (cpu, memory)


def test_resources_of_the_pod_go_before_its_containers() -> None:
    asked = pod({
        "containers": [{"name": "app", "image": "a", "resources": {"limits": {"cpu": "9", "memory": "9Gi"}}}],
        "resources": {"limits": {"cpu": "2"}},
    })  # fmt: skip
    size = vm_size(asked, CONFIG)
    assert (size.cpu, size.memory) == (2, 9 * GI)


def test_containers_are_summed() -> None:
    each = {"image": "a", "resources": {"limits": {"cpu": "700m", "memory": "1Gi"}}}
    size = vm_size(pod({"containers": [{"name": "a", **each}, {"name": "b", **each}]}), CONFIG)
    assert (size.cpu, size.memory) == (2, 2 * GI)


@pytest.mark.parametrize(
    ("memory", "architecture", "largest"),
    [("1Gi", "amd64", "4Gi"), ("1023Mi", "amd64", "4Gi"), ("1022Mi", "amd64", None), ("8Gi", "arm64", None)],
)
def test_memory_grows_only_where_kubevirt_can_plug_it(memory: str, architecture: str, largest: str | None) -> None:
    config = msgspec.structs.replace(CONFIG, architecture=architecture)
    found = instance(container(resources={"limits": {"memory": memory}}), config=config)["domain"]["memory"]
    assert found.get("maxGuest") == largest


@pytest.mark.parametrize(("cpu", "largest"), [(1, 4), (16, 64), (20, 64), (100, 100)])
def test_sockets_grow_up_to_the_nodes_cap(cpu: int, largest: int) -> None:
    found = instance(container(resources={"limits": {"cpu": cpu}}))["domain"]["cpu"]
    assert found == {"sockets": cpu, "cores": 1, "threads": 1, "maxSockets": largest}


def test_the_vms_own_resources_stay_unset() -> None:
    """Else a resize while it runs would be refused, or forgotten at the next boot."""
    assert "resources" not in instance(container(resources={"requests": {"cpu": 1, "memory": "1Gi"}}))["domain"]


def test_requests_are_reported_as_written_and_limits_count_as_requests() -> None:
    asked = container(resources={"requests": {"cpu": 0.5}, "limits": {"cpu": "1", "memory": "1024Mi"}})
    assert requests_by_container(asked) == {"app": {"cpu": "500m", "memory": "1Gi"}}
