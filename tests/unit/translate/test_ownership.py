"""The marks that make a VM a Pod's, and what brings lost ones back."""

from typing import Any

import msgspec

from kubelet_bridge.model.meta import LABEL_CONTAINER, LABEL_NODE, LABEL_POD_UID, ObjectMeta, PodKey, machine_key
from kubelet_bridge.translate import ownership

KEY = PodKey("shop", "web", "u1")
NOTES = ownership.annotations(KEY, "dpl_1", "hash")


def marked(**changes: Any) -> ObjectMeta:
    return msgspec.convert({**ownership.metadata("web", KEY, "vnode"), "annotations": NOTES, **changes}, ObjectMeta)


def test_nothing_is_restored_while_every_mark_is_there() -> None:
    assert ownership.restored(marked(), KEY, "vnode", NOTES) is None
    another_hash = marked(annotations=ownership.annotations(KEY, "dpl_1", "other"))
    assert ownership.restored(another_hash, KEY, "vnode", NOTES) is None


def test_only_what_is_missing_is_restored() -> None:
    labels = ownership.labels(KEY, "vnode")
    del labels[LABEL_POD_UID]
    lost = ownership.restored(marked(labels=labels | {LABEL_NODE: "other", "mine": "1"}), KEY, "vnode", NOTES)
    assert lost == {"labels": {LABEL_POD_UID: "u1", LABEL_NODE: "vnode"}}
    assert ownership.restored(marked(annotations={}), KEY, "vnode", NOTES) == {"annotations": NOTES}


def test_the_other_owners_of_a_vm_stay() -> None:
    other = {"apiVersion": "v1", "kind": "Fleet", "name": "f", "uid": "f1", "controller": True}
    lost = ownership.restored(marked(ownerReferences=[other]), KEY, "vnode", NOTES)
    assert lost is not None
    assert [(one["uid"], one["controller"]) for one in lost["ownerReferences"]] == [("f1", True), ("u1", False)]


def test_a_vm_is_one_machines_only() -> None:
    web, log = (machine_key(KEY, name) for name in ("web", "log"))
    labels = ownership.labels(web, "vnode")
    assert ownership.belongs(labels, web)
    assert not ownership.belongs(labels, log)
    assert not ownership.belongs(labels, KEY)
    assert ownership.metadata("web-web", web, "vnode")["ownerReferences"] == marked_owner()
    taken = ownership.restored(
        marked(labels=ownership.labels(KEY, "vnode") | {LABEL_CONTAINER: "web"}), KEY, "vnode", NOTES
    )
    assert taken == {"labels": {LABEL_CONTAINER: None}}


def marked_owner() -> list[dict[str, Any]]:
    owners: list[dict[str, Any]] = ownership.metadata("web", KEY, "vnode")["ownerReferences"]
    return owners
