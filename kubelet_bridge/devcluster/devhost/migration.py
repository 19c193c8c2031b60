"""Who writes what into a VirtualMachineInstance during a live migration, as pure functions.

Follows pkg/virt-handler/migration-source.go and migration-target.go in KubeVirt. The migration controller has made the
target launcher Pod and named both nodes; from there:

    target  publishes where it listens        (``prepared``)
    source  begins to send                    (``begun``)
    target  has the running guest: ownership, node name, hot-plugged CPUs and memory are its own now (``arrived``)
    target  takes its label off               (``cleaned``)
    source  reports a failure or an abort     (``aborted``)
"""

from datetime import datetime
from enum import StrEnum

from kubelet_bridge.devcluster.devhost.vmistatus import LABEL_NODE, Document, timestamp, without_condition

LABEL_TARGET = "kubevirt.io/migrationTargetNodeName"
LABEL_CPU_LIMITS = "kubevirt.io/vmi-pod-cpu-resource-limits"
LABEL_MEMORY_REQUESTS = "kubevirt.io/vmi-pod-memory-resource-requests"
LABEL_OVERHEAD_RATIO = "kubevirt.io/memory-hotplug-overhead-ratio"
LABEL_OUTDATED = "kubevirt.io/outdatedLauncherImage"
_EVICTION_SOURCE = "kubevirt.io/eviction-source"


class Step(StrEnum):
    """What a host has to do next about a migration."""

    NONE = "none"
    RECEIVE = "receive"
    TAKE_OVER = "take-over"
    CLEAN = "clean"
    SEND = "send"
    ABORT = "abort"
    WAIT = "wait"


def target_step(vmi: Document, node: str) -> Step:
    """What the target has to do: nothing when ``node`` is not it."""
    state = vmi["status"].get("migrationState")
    if state is None or vmi["metadata"].get("labels", {}).get(LABEL_TARGET) != node:
        return Step.NONE
    if _done(state):
        return Step.CLEAN
    return Step.TAKE_OVER if state.get("targetNodeAddress") else Step.RECEIVE


def source_step(vmi: Document, node: str) -> Step:
    """What the source has to do: nothing when ``node`` is not it, or when there is no migration under way."""
    state = vmi["status"].get("migrationState")
    if state is None or _done(state) or state.get("sourceNode") != node or vmi["status"].get("nodeName") != node:
        return Step.NONE
    if state.get("abortRequested"):
        return Step.ABORT
    return Step.SEND if state.get("targetNodeAddress") else Step.WAIT


def prepared(vmi: Document, address: str, ports: dict[str, int]) -> Document:
    """The target waits for the guest at ``address``."""
    return _with_state(vmi, {"targetNodeAddress": address, "targetDirectMigrationNodePorts": ports})


def begun(vmi: Document, now: datetime) -> Document:
    """The source begins to send."""
    return _with_state(vmi, {"startTimestamp": timestamp(now), "mode": "PreCopy"})


def aborted(vmi: Document, reason: str, now: datetime) -> Document:
    """The source has given up; the guest goes on where it was."""
    state = vmi["status"]["migrationState"]
    update: Document = {"completed": True, "failed": True, "endTimestamp": timestamp(now), "failureReason": reason}
    update["startTimestamp"] = state.get("startTimestamp", timestamp(now))
    if state.get("abortRequested"):
        update["abortStatus"] = "Succeeded"
    return _with_state(vmi, update)


def arrived(vmi: Document, node: str, now: datetime) -> Document:
    """The guest runs on ``node`` now (ackMigrationCompletion, finalizeMigration)."""
    state = vmi["status"]["migrationState"]
    moved = _with_state(vmi, {
        "targetNodeDomainDetected": True, "targetNodeDomainReadyTimestamp": timestamp(now), "completed": True,
        "startTimestamp": state.get("startTimestamp", timestamp(now)), "endTimestamp": timestamp(now),
    })  # fmt: skip
    status = moved["status"] | {"nodeName": node, "migrationTransport": "Unix"}
    for gone in ("launcherContainerImageVersion", "evacuationNodeName", "migratedVolumes"):
        status.pop(gone, None)
    if "targetMemoryOverhead" in state and "memory" in status:
        status["memory"] = status["memory"] | {"memoryOverhead": state["targetMemoryOverhead"]}
    return _plugged(moved | {"metadata": _moved_metadata(moved["metadata"], node), "status": status})


def cleaned(vmi: Document) -> Document:
    """The target has nothing more to do."""
    labels = {key: value for key, value in vmi["metadata"].get("labels", {}).items() if key != LABEL_TARGET}
    return vmi | {"metadata": vmi["metadata"] | {"labels": labels}}


def has_failed(vmi: Document) -> bool:
    """Whether the last migration failed."""
    return bool(vmi["status"].get("migrationState", {}).get("failed"))


def _done(state: Document) -> bool:
    return bool(state.get("endTimestamp") and (state.get("completed") or state.get("failed")))


def _with_state(vmi: Document, update: Document) -> Document:
    status = vmi["status"]
    return vmi | {"status": status | {"migrationState": status["migrationState"] | update}}


def _moved_metadata(metadata: Document, node: str) -> Document:
    dropped = (LABEL_OUTDATED, LABEL_CPU_LIMITS, LABEL_MEMORY_REQUESTS, LABEL_OVERHEAD_RATIO)
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key not in dropped}
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != _EVICTION_SOURCE}
    return metadata | {"labels": labels | {LABEL_NODE: node}, "annotations": annotations}


def _plugged(vmi: Document) -> Document:
    """What a live resize waited for: the guest now has the CPUs and memory of its spec (hotplugCPU, hotplugMemory)."""
    domain, status = vmi["spec"]["domain"], dict(vmi["status"])
    pending = {condition["type"] for condition in status.get("conditions", [])}
    if "HotVCPUChange" in pending:
        cpu = domain["cpu"]
        status["currentCPUTopology"] = {key: cpu[key] for key in ("sockets", "cores", "threads") if key in cpu}
    if "HotMemoryChange" in pending:
        guest = domain["memory"]["guest"]
        status["memory"] = status["memory"] | {"guestRequested": guest, "guestCurrent": guest}
    status["conditions"] = without_condition(
        status.get("conditions", []), "HotVCPUChange", "HotMemoryChange", "MigrationRequired", "VolumesChange"
    )
    return vmi | {"status": status}
