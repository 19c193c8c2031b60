"""Telling from an audit log which rights were used."""

from pathlib import Path
from typing import Any

import msgspec

from tests.support.rights import Right, granted, requests, unused

USER = "system:serviceaccount:vms:bridge"


def event(verb: str, resource: str, **more: Any) -> dict[str, Any]:
    where = {key: more.pop(key) for key in ("name", "namespace", "subresource") if key in more}
    return {
        "stage": "ResponseComplete", "verb": verb, "user": {"username": USER},
        "objectRef": {"resource": resource, **where},
        "responseStatus": {"code": 200}, **more,
    }  # fmt: skip


def role(kind: str, name: str, namespace: str = "", **rule: Any) -> list[dict[str, Any]]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return [
        {"kind": kind, "metadata": metadata, "rules": [{"apiGroups": [""], **rule}]},
        {"kind": f"{kind}Binding", "metadata": metadata, "roleRef": {"kind": kind, "name": name}},
    ]


def test_rights_are_those_of_bound_roles() -> None:
    objects = [
        *role("ClusterRole", "all", resources=["pods", "pods/log"], verbs=["get"]),
        *role("Role", "some", "vms", resources=["secrets"], verbs=["get"], resourceNames=["one", "two"]),
        role("ClusterRole", "bound to nobody", resources=["nodes"], verbs=["delete"])[0],
    ]
    assert granted(objects) == {
        Right("", "pods", "get"), Right("", "pods/log", "get"),
        Right("", "secrets", "get", "one", "vms"), Right("", "secrets", "get", "two", "vms"),
    }  # fmt: skip


def test_what_the_log_says_was_used(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    lines = [
        event("get", "pods", namespace="a", name="web"),
        event("get", "pods", subresource="log", namespace="a", name="web"),
        event("get", "secrets", namespace="vms", name="one"),
        event("list", "nodes", annotations={"authorization.k8s.io/decision": "forbid"}),
        {**event("delete", "pods"), "user": {"username": "somebody"}},
        {**event("watch", "pods"), "stage": "ResponseStarted"},
    ]
    log.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    seen = requests(log, USER)
    assert [one.right.resource for one in seen] == ["pods", "pods/log", "secrets", "nodes"]
    assert [one.why_not for one in seen] == ["", "", "", "forbidden"]
    grants = {
        Right("", "pods", "get"), Right("", "secrets", "get", "one", "vms"), Right("", "secrets", "get", "two", "vms"),
        Right("", "secrets", "get", "one", "other"), Right("", "pods", "delete"),
    }  # fmt: skip
    assert unused(grants, [one.right for one in seen]) == {
        Right("", "secrets", "get", "two", "vms"), Right("", "secrets", "get", "one", "other"),
        Right("", "pods", "delete"),
    }  # fmt: skip
