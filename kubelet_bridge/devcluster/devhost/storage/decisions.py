"""What is to be done for a claim or a volume, and by which host. Pure.

Rules: sig-storage-lib-external-provisioner (shouldProvision, shouldDelete) and external-resizer.
"""

from typing import Any

from kubelet_bridge.devcluster.devhost.storage.objects import Claim, StorageClass, Volume
from kubelet_bridge.devcluster.storageclasses import DRIVER
from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.quantity import Quantity

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
FIRST_HOST = "dev-host-0"
"""It serves what belongs to no host: a cluster has at least this one."""

_HOSTNAME = "kubernetes.io/hostname"


def shall_provision(claim: Claim, node: str) -> bool:
    """Whether the host ``node`` is to make this claim's volume.

    A claim with a source is filled by a populator, whose own claim without one gets the volume.
    """
    annotations, spec = claim.metadata.annotations, claim.spec
    ours = DRIVER in (annotations.get(PROVISIONER), annotations.get(PROVISIONER_BETA))
    if not ours or spec.volume_name or spec.data_source or spec.data_source_ref:
        return False
    return claim.metadata.deletion_timestamp is None and annotations.get(SELECTED_NODE, FIRST_HOST) == node


def asked_for(claim: Claim) -> str:
    """The claim that somebody made: a populator's own is owned by the one that it fills."""
    owners = (one.name for one in claim.metadata.owner_references if one.kind == "PersistentVolumeClaim")
    return next(owners, claim.metadata.name)


def volume_name(claim: Claim) -> str:
    """The same at every try."""
    return f"pvc-{claim.metadata.uid}"


def persistent_volume(claim: Claim, storage_class: StorageClass, node: str) -> dict[str, Any]:
    """The volume of a claim, already the claim's. Of a class that waits for a consumer it is on ``node`` only.

    Raises:
        Terminal: the claim asks for what this storage does not do; the message says what.
    """
    local = storage_class.volume_binding_mode == "WaitForFirstConsumer"
    shared = {"ReadWriteMany", "ReadOnlyMany"} & set(claim.spec.access_modes)
    if local and shared:
        raise Terminal(f"storage class {storage_class.metadata.name} is of one node: no {min(shared)}")
    if Quantity.parse(claim.size or "0").ceil() <= 0:
        raise Terminal("the claim asks for no storage")
    name, meta = volume_name(claim), claim.metadata
    affinity = {"nodeAffinity": _only_on(node)} if local else {}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {
            "capacity": {"storage": claim.size}, "accessModes": claim.spec.access_modes,
            "volumeMode": claim.spec.volume_mode, "storageClassName": claim.spec.storage_class_name,
            "persistentVolumeReclaimPolicy": storage_class.reclaim_policy,
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
                "uid": meta.uid,
            },
            "csi": {"driver": DRIVER, "volumeHandle": name},
            **affinity,
        },
    }  # fmt: skip


def is_ours(volume: Volume) -> bool:
    """Whether it is a volume of this storage."""
    return volume.spec.csi is not None and volume.spec.csi.driver == DRIVER


def host_of(volume: Volume) -> str:
    """The host that looks after a volume: the only one it is on, or the first."""
    terms = ((volume.spec.node_affinity or {}).get("required") or {}).get("nodeSelectorTerms") or []
    for expression in (one for term in terms for one in term.get("matchExpressions") or []):
        if expression.get("key") == _HOSTNAME and len(expression.get("values") or []) == 1:
            return str(expression["values"][0])
    return FIRST_HOST


def shall_delete(volume: Volume, node: str) -> bool:
    """Whether the host ``node`` is to remove a volume: its claim has gone, and nobody wants to keep it."""
    released = volume.status.phase == "Released" and volume.spec.persistent_volume_reclaim_policy == "Delete"
    return is_ours(volume) and released and host_of(volume) == node


def wanted_size(claim: Claim, volume: Volume, node: str) -> str | None:
    """The size that the host ``node`` is to give a bound claim; None when it is as large as it asks to be."""
    if not is_ours(volume) or host_of(volume) != node or claim.status.phase != "Bound":
        return None
    if volume.spec.claim_ref is None or volume.spec.claim_ref.uid != claim.metadata.uid:
        return None
    asked = Quantity.parse(claim.size or "0").ceil()
    has = [Quantity.parse(size.get("storage", "0")).ceil() for size in (claim.status.capacity, volume.spec.capacity)]
    return claim.size if asked > min(has) else None


def _only_on(node: str) -> dict[str, Any]:
    expression = {"key": _HOSTNAME, "operator": "In", "values": [node]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
