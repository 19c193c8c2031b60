"""The marks on every object we make: whose it is, and what it goes away with."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kubelet_bridge.model.meta import (
    ANNOTATION_ID,
    ANNOTATION_POD_NAME,
    ANNOTATION_SPEC_HASH,
    LABEL_CONTAINER,
    LABEL_MANAGED_BY,
    LABEL_NODE,
    LABEL_POD_NAME,
    LABEL_POD_UID,
    MANAGED_BY,
    ObjectMeta,
    PodKey,
    label_value,
)


def labels(key: PodKey, node_name: str) -> dict[str, str]:
    """Labels of the Secret, the VM, and through its template the VMI and the launcher Pod.

    The Pod's own labels are not among them: the launcher would match the Pod's Services, ReplicaSet and PDBs.
    """
    made = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_NODE: label_value(node_name),
        LABEL_POD_NAME: label_value(key.owner.name),
        LABEL_POD_UID: key.owner.uid,
    }
    return made | ({LABEL_CONTAINER: key.container} if key.container else {})


def belongs(labels: Mapping[str, str], key: PodKey) -> bool:
    """Whether an object with these labels is that Pod's or machine's. One of another machine of the same Pod is not."""
    return labels.get(LABEL_POD_UID) == key.owner.uid and labels.get(LABEL_CONTAINER, "") == key.container


def annotations(key: PodKey, id_: str, spec_hash: str) -> dict[str, str]:
    """Annotations of the VM: what a lost database is rebuilt from."""
    return {ANNOTATION_ID: id_, ANNOTATION_POD_NAME: key.owner.name, ANNOTATION_SPEC_HASH: spec_hash}


def metadata(name: str, key: PodKey, node_name: str) -> dict[str, Any]:
    """``metadata`` of an object that is deleted with the Pod."""
    return {
        "name": name,
        "namespace": key.namespace,
        "labels": labels(key, node_name),
        "ownerReferences": [_owner(key)],
    }


def restored(metadata: ObjectMeta, key: PodKey, node_name: str, notes: Mapping[str, str]) -> dict[str, Any] | None:
    """The merge patch of ``metadata`` that brings back marks of ours that somebody removed; None when none is missing.

    An annotation is only missing when it is not there at all: while a change is applied, the spec hash is another.
    """
    wanted = labels(key, node_name)
    marks: dict[str, Any] = {name: value for name, value in wanted.items() if metadata.labels.get(name) != value}
    if LABEL_CONTAINER in metadata.labels and LABEL_CONTAINER not in wanted:  # it would be taken for a machine's
        marks[LABEL_CONTAINER] = None
    missing = {name: value for name, value in notes.items() if value and name not in metadata.annotations}
    lost: dict[str, Any] = {"labels": marks} if marks else {}
    lost |= {"annotations": missing} if missing else {}
    owners = metadata.owner_references
    if all(one.uid != key.owner.uid for one in owners):  # a merge replaces the list; it may have one controller
        own = _owner(key) | {"controller": not any(one.controller for one in owners)}
        lost["ownerReferences"] = [*msgspec.to_builtins(owners), own]
    return lost or None


def _owner(key: PodKey) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "name": key.owner.name, "uid": key.owner.uid, "controller": True}
