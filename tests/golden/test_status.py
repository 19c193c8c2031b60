"""``NAME.input.yaml`` (what is known of a Pod) → ``NAME.status.yaml`` (the row, the status and the events of it)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import podevents, podstatus
from kubelet_bridge.translate.observe import observe
from tests.support import golden

CASES = Path(__file__).parent / "status"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CONTAINER = {
    "name": "web",
    "image": "quay.io/containerdisks/fedora:41",
    "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
}


def snapshot_of(known: dict[str, Any]) -> Snapshot:
    """The snapshot; what a case does not say is as usual."""
    pod = known.get("pod", {})
    metadata = {"name": "web-0", "namespace": "shop", "uid": "pod-1", "generation": 1, **pod.get("metadata", {})}
    spec = {"nodeName": "kubelet-bridge", "containers": [CONTAINER], **pod.get("spec", {})}
    intent = {
        "uid": "pod-1", "id": "dpl_1a2b3c4d", "namespace": "shop", "name": "web-0", "vm_name": "web-0",
        "accepted_at": "2026-03-01T11:59:00Z",
        "allocation": {"requests": {"web": {"cpu": "500m", "memory": "1Gi"}}},
        **known.get("intent", {}),
    }  # fmt: skip
    return Snapshot(
        key=PodKey("shop", "web-0", "pod-1"),
        pod=msgspec.convert({**pod, "metadata": metadata, "spec": spec}, Pod),
        intent=msgspec.convert(intent, Intent),
        vm=msgspec.convert(known.get("vm"), VirtualMachine | None),
        vmi=msgspec.convert(known.get("vmi"), VirtualMachineInstance | None),
        launchers=msgspec.convert(known.get("launchers", []), list[Launcher]),
        guest=msgspec.convert(known.get("guest"), Guest | None),
        disks=known.get("disks", []),
    )


@pytest.mark.parametrize("name", sorted(path.name.partition(".")[0] for path in CASES.glob("*.input.yaml")))
def test_status(name: str, update_golden: bool) -> None:
    known = yaml.safe_load((CASES / f"{name}.input.yaml").read_text())
    snapshot = snapshot_of(known)
    assert snapshot.pod is not None
    assert snapshot.intent is not None
    intent = observe(snapshot.intent, snapshot, NOW)
    seen = msgspec.structs.replace(snapshot, intent=intent)
    problem = msgspec.convert(known.get("problem"), podstatus.Problem | None)
    status = podstatus.build(seen, host_ip="192.0.2.10", problem=problem, now=NOW)
    before, after = msgspec.to_builtins(snapshot.intent), msgspec.to_builtins(intent)
    events = podevents.events(snapshot.pod.status, status, seen)
    made = {
        "intent": {key: value for key, value in after.items() if value != before[key]},
        "status": msgspec.to_builtins(status),
        "events": [f"{one.type} {one.reason} {one.field_path}: {one.message}" for one in events],
    }
    golden.check(CASES / f"{name}.status.yaml", made, update=update_golden)
