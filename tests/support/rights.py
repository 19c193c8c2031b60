"""What a chart grants, and what of it was used, by the API server's audit log."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]


class Right(NamedTuple):
    """``name`` is empty where a rule names none; ``namespace`` where it is the cluster's."""

    group: str
    resource: str
    verb: str
    name: str = ""
    namespace: str = ""


def granted(objects: Iterable[Json]) -> set[Right]:
    """By the Roles and ClusterRoles among ``objects`` that are bound; bindings of others count for nothing."""
    listed = list(objects)
    bindings = [one for one in listed if one["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    found: set[Right] = set()
    for binding in bindings:
        namespace = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
        for rule in _rules(listed, binding):
            found |= {
                Right(group, resource, verb, name, namespace)
                for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }  # fmt: skip
    return found


def _rules(objects: list[Json], binding: Json) -> list[Json]:
    to = binding["roleRef"]
    for one in objects:
        within = to["kind"] == "ClusterRole" or one["metadata"].get("namespace") == binding["metadata"].get("namespace")
        if (one["kind"], one["metadata"]["name"]) == (to["kind"], to["name"]) and within:
            return list(one["rules"])
    return []


class Request(msgspec.Struct, frozen=True):
    """One request to a resource; ``why_not`` is what the authorizer or a policy said."""

    right: Right
    code: int
    why_not: str


def requests(log: Path, user: str) -> list[Request]:
    """Every request of ``user`` to a resource, in order; a watch counts once."""
    found = []
    for line in log.read_bytes().splitlines():
        event = msgspec.json.decode(line)
        what = event.get("objectRef")
        if event["user"]["username"] != user or what is None or event["stage"] != "ResponseComplete":
            continue
        resource = "/".join(filter(None, (what["resource"], what.get("subresource", ""))))
        right = Right(
            what.get("apiGroup", ""), resource, event["verb"], what.get("name", ""), what.get("namespace", "")
        )
        status = event.get("responseStatus", {})
        refused = event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
        found.append(Request(right, status.get("code", 0), status.get("message", "forbidden") if refused else ""))
    return found


def covers(grant: Right, used: Right) -> bool:
    """Whether ``grant`` is what allowed ``used``; by name only where it is restricted to one."""
    same = (grant.group, grant.resource, grant.verb) == (used.group, used.resource, used.verb)
    named = not grant.name or grant.name == used.name
    return same and named and grant.namespace in ("", used.namespace)


def unused(grants: Iterable[Right], used: Iterable[Right]) -> set[Right]:
    """Of ``grants``, those that nothing of ``used`` needed."""
    seen = set(used)
    return {grant for grant in grants if not any(covers(grant, one) for one in seen)}
