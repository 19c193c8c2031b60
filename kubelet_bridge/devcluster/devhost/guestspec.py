"""A VirtualMachineInstance as a runtime is told of it. Pure."""

from datetime import datetime

import msgspec

from kubelet_bridge.devcluster.devhost.runtime import GuestSpec, GuestState
from kubelet_bridge.devcluster.devhost.vmistatus import Document
from kubelet_bridge.model.core import Pod


def guest_spec(vmi: Document, launcher: Pod) -> GuestSpec:
    """What to run, and at which address."""
    meta, spec = vmi["metadata"], vmi["spec"]
    return GuestSpec(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        hostname=spec.get("hostname") or meta["name"],
        address=launcher.status.pod_ip,
        vmi=msgspec.json.encode(vmi),
        paused=spec.get("startStrategy") == "Paused",
    )


def last_state(vmi: Document, now: datetime) -> GuestState:
    """A guest's state as an earlier process of this host reported it."""
    status = vmi["status"]
    conditions = {condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"}
    since = {entry["phase"]: entry["phaseTransitionTimestamp"] for entry in status.get("phaseTransitionTimestamps", [])}
    return GuestState(
        started_at=datetime.fromisoformat(since["Running"]) if "Running" in since else now,
        booted=True,
        paused="Paused" in conditions,
        frozen=status.get("fsFreezeStatus") == "frozen",
    )
