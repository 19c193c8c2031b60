"""What users read in ``kubectl describe pod`` of a sync that did not get through."""

from kubelet_bridge.errors import ApiError, BridgeError, Transient
from kubelet_bridge.model.snapshot import EventType, PodEvent, Snapshot
from kubelet_bridge.reconcile.actions import Plan


def warnings(planned: Plan) -> list[PodEvent]:
    """Events of a plan that has a problem."""
    problem = planned.problem
    if problem is None or problem.reason == "ContainerCreating":  # waiting for a predecessor is no fault
        return planned.notes
    return [*planned.notes, PodEvent(EventType.WARNING, "Failed", f"Error: {problem.message}")]


def failure(error: BridgeError, snapshot: Snapshot) -> list[PodEvent]:
    """Events of a step that was refused; an API server that is away is no event.

    One that answers 5xx is: a webhook, such as KubeVirt's, may be what does not work.
    """
    answered = isinstance(error, ApiError) and error.status >= 500
    if snapshot.pod is None or (isinstance(error, Transient) and not answered):
        return []
    reason = "FailedDelete" if snapshot.pod.metadata.deletion_timestamp is not None else "Failed"
    return [PodEvent(EventType.WARNING, reason, f"Error: {error.message}")]
