"""VMs have a vsock device, and agents wait on it, where guests are reached that way; else nothing of it is written."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Inputs, Snapshot
from kubelet_bridge.translate import agentseed
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.virtualmachine import build
from tests.support.pods import GUESTS, pod


def with_port(port: int) -> BridgeConfig:
    assert GUESTS.guest is not None
    return msgspec.structs.replace(GUESTS, guest=msgspec.structs.replace(GUESTS.guest, vsock_port=port))


def devices(config: BridgeConfig) -> dict[str, Any]:
    made = pod()
    key = PodKey(made.metadata.namespace, made.metadata.name, made.metadata.uid)
    built = build(Snapshot(key=key, pod=made, inputs=Inputs()), "web", config)
    found: dict[str, Any] = built.virtual_machine["spec"]["template"]["spec"]["domain"]["devices"]
    return found


@pytest.mark.parametrize("port", [0, 10251])
def test_device_and_seed(port: int) -> None:
    config = with_port(port)
    assert config.guest is not None
    seed = msgspec.json.decode(agentseed.seed("u1", config.guest))
    assert seed.get("vsock_port", 0) == port
    assert devices(config).get("autoattachVSOCK", False) is bool(port)
    assert ("vsock_port" in seed) is bool(port)
    assert ("autoattachVSOCK" in devices(config)) is bool(port)
