"""The Node's status as a patch, and whether it is worth sending. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubelet_bridge.node.ports import ReadyState

Json = dict[str, Any]

_TIMES = ("lastHeartbeatTime", "lastTransitionTime")


def with_ready(status: Json, state: ReadyState) -> Json:
    """``status`` with its Ready condition last, as kubelets have it."""
    others = [one for one in status.get("conditions", ()) if one["type"] != "Ready"]
    return {**status, "conditions": [*others, ready_condition(state)]}


def ready_condition(state: ReadyState) -> Json:
    """The Ready condition, without its times."""
    value = "True" if state.ready else "False"
    return {"type": "Ready", "status": value, "reason": state.reason, "message": state.message}


def stamped(status: Json, live: Json, now: datetime) -> Json:
    """``status`` with the times of its conditions: heartbeat now, transition only where the status is another one."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {one["type"]: one for one in live.get("conditions", ())}

    def stamp(condition: Json) -> Json:
        former = before.get(condition["type"], {})
        since = former.get("lastTransitionTime") if former.get("status") == condition["status"] else None
        return {**condition, "lastHeartbeatTime": moment, "lastTransitionTime": since or moment}

    return {**status, "conditions": [stamp(one) for one in status.get("conditions", ())]}


def patch(status: Json, sent: Json) -> Json:
    """The strategic merge patch for ``nodes/status``, after ``sent`` was the one before.

    Addresses are merged by type there, and a node may have two of a type: the list is replaced as the kubelet does it
    (pkg/util/node, fixupPatchForNodeStatusAddresses). Resources that are no longer offered are named, to be removed;
    those that others have added stay.
    """
    body = dict(status)
    if "addresses" in body:
        body["addresses"] = [*body["addresses"], {"$patch": "replace"}]
    for name in ("capacity", "allocatable"):
        gone = dict.fromkeys(sent.get(name, {}).keys() - body.get(name, {}).keys())
        body[name] = {**body.get(name, {}), **gone}
    return body


def seen(live: Json, like: Json) -> Json:
    """The part of ``live`` that ``like`` speaks of, without times: what nobody but us should change."""
    return {key: _part(live.get(key), wanted) for key, wanted in like.items()}


def said(status: Json) -> Json:
    """``status`` without times: what we want to say."""
    return seen(status, status)


def _part(live: Any, like: Any) -> Any:
    if isinstance(like, Mapping):
        return {key: (live or {}).get(key) for key in like}
    if isinstance(like, list) and all(isinstance(one, Mapping) and "status" in one for one in like):
        types = [one["type"] for one in like]
        found = {one["type"]: {k: v for k, v in one.items() if k not in _TIMES} for one in live or ()}
        return {name: found.get(name) for name in types}
    return live
