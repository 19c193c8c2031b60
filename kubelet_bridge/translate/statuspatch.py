"""The strategic merge patch of ``pods/status`` that brings one status to another, and nothing when nothing differs.

Merge rules are those of ``k8s.io/api/core/v1``: conditions merge by ``type``, ``podIPs`` and ``hostIPs`` by ``ip``,
container statuses are replaced as lists. Conditions of others are never part of it.
"""

from typing import Any

import msgspec

from kubelet_bridge.model.core import Ip, Pod, PodStatus
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.translate.launcher import find
from kubelet_bridge.translate.vocabulary import TERMINAL, VM_CONDITIONS, PodCondition

_OURS = frozenset(PodCondition)
_SCALARS = {
    "phase": "phase",
    "reason": "reason",
    "message": "message",
    "start_time": "startTime",
    "host_ip": "hostIP",
    "pod_ip": "podIP",
    "observed_generation": "observedGeneration",
}
_LISTS = {
    "container_statuses": "containerStatuses",
    "init_container_statuses": "initContainerStatuses",
    "ephemeral_container_statuses": "ephemeralContainerStatuses",
}


def patch(pod: Pod, wanted: PodStatus, uid: str) -> dict[str, Any] | None:
    """The patch body, or None.

    ``uid`` in its metadata makes the API server refuse it for another Pod of the same name: 422, "field is immutable".
    A final phase is never left, nor what goes with it changed.
    """
    has = pod.status
    status: dict[str, Any] = {}
    for field, key in _SCALARS.items():
        if getattr(has, field) != getattr(wanted, field):
            status[key] = msgspec.to_builtins(getattr(wanted, field)) or None
    for field, key in _LISTS.items():
        if getattr(has, field) != getattr(wanted, field):
            status[key] = msgspec.to_builtins(getattr(wanted, field))
    if has.host_ips != wanted.host_ips:
        status["hostIPs"] = _replaced(wanted.host_ips)
    if has.pod_ips != wanted.pod_ips:
        status["podIPs"] = _replaced(wanted.pod_ips)
        # On its own podIP would fill an emptied podIPs again (pkg/apis/core/v1/conversion.go).
        status["podIP"] = wanted.pod_ip or None
    conditions = _conditions(has.conditions, wanted.conditions)
    if conditions:
        status["conditions"] = conditions
    if has.phase in TERMINAL and wanted.phase != has.phase:
        for key in ("phase", "reason", "message"):
            status.pop(key, None)
    return {"metadata": {"uid": uid}, "status": status} if status else None


def _replaced(addresses: list[Ip]) -> list[dict[str, str]]:
    """A merge by ``ip`` would keep the old addresses, and put the new ones behind them."""
    return [{"$patch": "replace"}, *({"ip": one.ip} for one in addresses)]


def _conditions(has: list[Condition], wanted: list[Condition]) -> list[dict[str, Any]]:
    changed = [_merged(find(has, one.type), one) for one in wanted if one.type in _OURS and not _same(has, one)]
    kept = {one.type for one in wanted}
    gone = [one.type for one in has if one.type in VM_CONDITIONS and one.type not in kept]
    return [*changed, *({"type": type_, "$patch": "delete"} for type_ in gone)]


def _same(has: list[Condition], wanted: Condition) -> bool:
    former = find(has, wanted.type)
    return former is not None and _substance(former) == _substance(wanted)


def _substance(condition: Condition) -> tuple[object, ...]:
    return (
        condition.status,
        condition.reason,
        condition.message,
        condition.last_transition_time,
        condition.observed_generation or None,
    )


def _merged(former: Condition | None, wanted: Condition) -> dict[str, Any]:
    """A merge keeps what is not mentioned: what the former condition has and this one has not is nulled."""
    body: dict[str, Any] = msgspec.to_builtins(wanted)
    for key in ("reason", "message"):
        if former is not None and getattr(former, key) and not getattr(wanted, key):
            body[key] = None
    return body
