"""Which claims ask this node for a disk."""

from enum import StrEnum

import msgspec

from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import DataSource, PersistentVolumeClaim
from kubelet_bridge.model.storagenames import (
    ANNOTATION_SELECTED_NODE,
    ANNOTATIONS_PROVISIONER,
    PROVISIONER,
    is_populators,
)


class Answer(StrEnum):
    """What a claim is to this node."""

    OURS = "ours"
    NOT_OURS = "not ours"
    LEFT_ALONE = "left alone"
    """It asks us, and for something that is not ours to give."""

    DIRECT = "direct"
    """It asks another provisioner for a volume on our node, where there can be none."""


class Verdict(msgspec.Struct, frozen=True):
    """The answer, and what to tell the claim's owner of it.

    Attributes:
        anywhere: no node was selected: of several bridges, each may serve the claim unless the class names one.
    """

    answer: Answer
    notes: list[PodEvent] = []
    anywhere: bool = False


_NOT_OURS = Verdict(Answer.NOT_OURS)


def verdict(claim: PersistentVolumeClaim, node_name: str) -> Verdict:
    """Whether ``claim`` asks the bridge of ``node_name`` for a disk.

    Kubernetes' volume controller writes the provisioner's name on a claim when it is the provisioner's turn: at once,
    or after the scheduler has selected a node (``pkg/controller/volume/persistentvolume/pv_controller.go``).
    """
    metadata = claim.metadata
    if claim.spec.volume_name or metadata.deletion_timestamp is not None or is_populators(metadata.name):
        return _NOT_OURS
    selected = metadata.annotations.get(ANNOTATION_SELECTED_NODE, "")
    if all(metadata.annotations.get(name) != PROVISIONER for name in ANNOTATIONS_PROVISIONER):
        return Verdict(Answer.DIRECT, [_direct(claim, node_name)]) if selected == node_name else _NOT_OURS
    if selected not in ("", node_name):
        return _NOT_OURS
    if message := _foreign(claim):
        return Verdict(Answer.LEFT_ALONE, [PodEvent(EventType.WARNING, "LeftAlone", message)])
    return Verdict(Answer.OURS, anywhere=not selected)


def clone_source(claim: PersistentVolumeClaim) -> str:
    """The claim of the same namespace that is to be cloned; empty: none."""
    source = _data_source(claim)
    return source.name if source is not None and _is_claim(source) else ""


def _data_source(claim: PersistentVolumeClaim) -> DataSource | None:
    return claim.spec.data_source_ref or claim.spec.data_source


def _is_claim(source: DataSource) -> bool:
    return source.kind == "PersistentVolumeClaim" and not source.api_group


def _direct(claim: PersistentVolumeClaim, node_name: str) -> PodEvent:
    """A provisioner that asks where the node is gets no answer: it has no CSINode (external-provisioner, topology)."""
    message = (
        f"this claim waits for its first consumer on {node_name}, which is no real node: most provisioners make no"
        f" volume there; use a class of {PROVISIONER} with the parameter backingClass: {claim.spec.storage_class_name}"
    )
    return PodEvent(EventType.WARNING, "UnsupportedBindingMode", message)


def _foreign(claim: PersistentVolumeClaim) -> str:
    """Why somebody else has to fill this claim, or nobody can."""
    source = _data_source(claim)
    if source is not None and not _is_claim(source):
        return f"a {source.kind} is filled in by its own populator, which needs a real storage class: use that directly"
    if source is not None and source.namespace not in ("", claim.metadata.namespace):
        return f"claim {source.namespace}/{source.name} is in another namespace, and disks are cloned within one"
    if any(owner.kind == "DataVolume" for owner in claim.metadata.owner_references):
        return (
            "a DataVolume cannot be on this class, which makes DataVolumes itself: give it a real one;"
            " where it is the one behind a disk of this class, set the class's parameter backingClass"
        )
    return ""
