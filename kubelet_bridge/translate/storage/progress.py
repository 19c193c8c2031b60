"""How far a disk is, in words: for the claim's events and for what its Pods wait for. CDI's own words are kept.

CDI tells of failures in conditions, while its phase stays that of the attempt under way
(``pkg/controller/datavolume/conditions.go``).
"""

import re

from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import DataVolume, DataVolumePhase
from kubelet_bridge.model.storagenames import ANNOTATION_PVC_NAME

_RUNNING = "Running"
_ON_ITS_WAY = frozenset({"", "Completed", "ContainerCreating", "PodInitializing", "Pending", "NotFound"})
_UNSCHEDULABLE = "Unschedulable"
_CLAIM_LOST = "ClaimLost"
_POPULATOR = re.compile(r"^\[(?:prime|tmp-pvc)-[^]]*] : ")
_AND, _NO_VOLUME = " and ", "waiting for a volume to be created"
_WAITS = ("waiting for ", "error saving claim: operation cannot be fulfilled")
"""The other one is Kubernetes' word for two writers in one moment: it tries again."""

_QUARTER = 25
_NOT_STARTED = "not taken up by CDI yet: is its controller running?"


def words(datavolume: DataVolume, refusal: str = "") -> str:
    """``DataVolume x ImportInProgress 42.50%``, and what went wrong, if anything did.

    ``refusal`` is why the storage has no volume for it, if it says.
    """
    trouble = _trouble(datavolume, refusal)
    begun = trouble or datavolume.phase is not DataVolumePhase.UNSET
    progress = _percentage(datavolume) if begun else _NOT_STARTED
    said = f"{_head(datavolume)} {progress}" if progress else _head(datavolume)
    return f"{said}: {trouble}" if trouble else said


def notes(datavolume: DataVolume, refusal: str = "") -> list[PodEvent]:
    """Events on the claim: one for each phase, each quarter of it, and each thing that goes wrong."""
    if trouble := _trouble(datavolume, refusal):
        return [PodEvent(EventType.WARNING, "DataVolumeTrouble", f"{_head(datavolume)}: {trouble}")]
    if datavolume.phase in (DataVolumePhase.UNSET, DataVolumePhase.PENDING):
        return []
    reason = "DataVolumeReady" if datavolume.populated else "DataVolumeProgress"
    quarter = _quarter(datavolume)
    return [PodEvent(EventType.NORMAL, reason, f"{_head(datavolume)} {quarter}" if quarter else _head(datavolume))]


def _head(datavolume: DataVolume) -> str:
    phase = datavolume.status.phase
    name = f"DataVolume {datavolume.metadata.name}"
    if datavolume.phase is DataVolumePhase.UPLOAD_READY:
        claim = datavolume.metadata.annotations.get(ANNOTATION_PVC_NAME, "")
        return f"{name} {phase}: waiting for the upload to {datavolume.metadata.name} (claim {claim})"
    return f"{name} {phase}" if phase else name


def _percentage(datavolume: DataVolume) -> str:
    progress = datavolume.status.progress
    return "" if datavolume.populated or not progress.endswith("%") else progress


def _quarter(datavolume: DataVolume) -> str:
    try:
        percent = float(_percentage(datavolume).removesuffix("%"))
    except ValueError:
        return ""
    passed = int(percent // _QUARTER) * _QUARTER
    return f"{passed}%" if 0 < passed <= 100 else ""


def _trouble(datavolume: DataVolume, refusal: str) -> str:
    """What CDI complains of: the attempt's error, or why the real claim is not bound.

    What the storage itself says comes first: without a volume nothing is attempted, and CDI tells only of the Pod.
    """
    if datavolume.populated:
        return ""
    if refusal:
        return refusal
    found = {one.type: one for one in datavolume.status.conditions}
    running, bound = found.get(_RUNNING), found.get("Bound")
    unbound = bound if bound is not None and bound.status != "True" else None
    stuck = unbound is not None and _is_stuck(unbound)
    unscheduled = running is not None and running.reason == _UNSCHEDULABLE
    if unscheduled and unbound is not None and (stuck or _newest_event(unbound).startswith(_NO_VOLUME)):
        return _message(unbound)  # what keeps the claim unbound is also why CDI's Pod finds no node
    if datavolume.phase is DataVolumePhase.FAILED or _complains(running):
        return _message(running) or "failed"
    return _message(bound) if stuck else ""


def _is_stuck(bound: Condition) -> bool:
    """A claim that is only pending says no more; its newest event comes after "and", and is no trouble if it waits."""
    event = _newest_event(bound)
    told = bool(event) and not event.startswith(_WAITS)
    return bound.reason.startswith("Err") or bound.reason == _CLAIM_LOST or told


def _newest_event(bound: Condition) -> str:
    return _POPULATOR.sub("", bound.message.partition(_AND)[2]).lower()


def _complains(running: Condition | None) -> bool:
    return running is not None and running.status == "False" and running.reason not in _ON_ITS_WAY


def _message(condition: Condition | None) -> str:
    return "" if condition is None else condition.message or condition.reason
