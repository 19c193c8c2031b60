"""A Pod's claims as disks of its VM: which real claim the VM has, and which claims it cannot have.

A claim of a class of ours stands for a DataVolume, and the VM has the real claim behind that. Any other claim is used
directly, by the launcher Pod too: what only one Pod may use, or what this node would have had to be the first consumer
of, cannot be.
"""

from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import ObjectMeta
from kubelet_bridge.model.snapshot import EventType, Inputs, PodClaim, PodEvent
from kubelet_bridge.model.storage import AccessMode, BindingMode, ClaimPhase, VolumeMode
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BACKING_UID,
    ATTRIBUTE_DATAVOLUME_UID,
    PROVISIONER,
    datavolume_of,
)
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.vocabulary import Reason

_KIND = "persistentVolumeClaim"
_OUR_WAY = "use a class of kubelet-bridge with it as backingClass"


class Obstacle(msgspec.Struct, frozen=True):
    """Why a claim cannot be a disk: for now, or until somebody changes something."""

    reason: str
    text: str
    waiting: Reason = Reason.CONTAINER_CREATING


def claim_names(pod: Pod) -> dict[str, str]:
    """The Pod's volumes that are claims: by name of the volume, the name of the claim."""
    found = ((str(one.get("name")), one[_KIND] or {}) for one in pod.spec.volumes if _KIND in one)
    return {name: str(source.get("claimName", "")) for name, source in found}


def real_claims(pod: Pod, inputs: Inputs) -> dict[str, str]:
    """By name of the Pod's volume: the claim that the VM has as a disk.

    Raises:
        MissingInputs: one is not there, not bound, lost, or cannot be used by a virtual machine; all are named.
    """
    names: dict[str, str] = {}
    obstacles: list[tuple[str, Obstacle]] = []
    for volume, claim in claim_names(pod).items():
        found = behind(claim, inputs.claims.get(claim))
        if isinstance(found, Obstacle):
            obstacles.append((volume, found))
            continue
        names[volume] = found
    if obstacles:
        raise _missing(obstacles)
    return names


def _missing(obstacles: list[tuple[str, Obstacle]]) -> MissingInputs:
    waiting = next((one.waiting for _, one in obstacles if one.waiting is not Reason.CONTAINER_CREATING), None)
    return MissingInputs(
        [one.text for _, one in obstacles],
        [PodEvent(EventType.WARNING, one.reason, f'Volume "{volume}": {one.text}') for volume, one in obstacles],
        waiting=waiting or Reason.CONTAINER_CREATING,
    )


def behind(name: str, found: PodClaim | None) -> str | Obstacle:
    """The real claim behind the claim ``name``, or why there is none that a VM can have."""
    if found is None:
        return Obstacle("FailedMount", f'persistentvolumeclaim "{name}" not found')
    if found.claim.phase is ClaimPhase.LOST:
        return _unusable("VolumeLost", f'persistentvolumeclaim "{name}" has lost its volume')
    if found.claim.phase is not ClaimPhase.BOUND or found.volume is None:
        return _unbound(name, found)
    csi = found.volume.spec.csi
    if csi is not None and csi.driver == PROVISIONER:
        return _datavolume(name, found, csi.volume_handle, csi.volume_attributes)
    if AccessMode.READ_WRITE_ONCE_POD in found.claim.spec.access_modes:
        text = f'persistentvolumeclaim "{name}" is ReadWriteOncePod: this Pod counts as the one that may use it'
        return _unusable("UnsupportedAccessMode", f"{text}, and its virtual machine's launcher may not; {_OUR_WAY}")
    return name


def _unbound(name: str, found: PodClaim) -> Obstacle:
    of = found.storage_class
    waits = of is not None and of.volume_binding_mode == BindingMode.WAIT_FOR_FIRST_CONSUMER
    if of is None or of.provisioner == PROVISIONER or not waits:
        return Obstacle("FailedMount", f'persistentvolumeclaim "{name}" is not bound')
    text = f'persistentvolumeclaim "{name}" waits for a first consumer on a real node, and this node is none'
    return _unusable("UnsupportedBindingMode", f"{text}; {_OUR_WAY} ({of.metadata.name}), or bind it before")


def _datavolume(name: str, found: PodClaim, handle: str, attributes: dict[str, str]) -> str | Obstacle:
    """The claim behind the DataVolume. Another one of its name holds something else, or nothing."""
    datavolume, own = datavolume_of(handle), handle.partition("/")[0]
    if own != found.claim.metadata.namespace:
        text = f'the disk of persistentvolumeclaim "{name}", DataVolume {datavolume}, is in namespace {own}'
        return _unusable("FailedMount", f"{text}: only virtual machines there can have it")
    text = f'the disk of persistentvolumeclaim "{name}", DataVolume {datavolume}'
    if found.datavolume is None or _is_another(found.datavolume.metadata, attributes.get(ATTRIBUTE_DATAVOLUME_UID)):
        return _unusable("VolumeLost", f"{text}, was deleted by somebody else")
    filled = found.volume.metadata.annotations.get(ANNOTATION_BACKING_UID) if found.volume is not None else None
    if found.real is not None and _is_another(found.real.metadata, filled):
        return _unusable("VolumeLost", f"{text}, has a claim that was deleted by somebody else, and made anew empty")
    parts = (found.datavolume.metadata, found.real.metadata if found.real is not None else ObjectMeta())
    if any(one.deletion_timestamp is not None for one in parts):
        return _unusable("VolumeEndangered", f"{text}, is being deleted by somebody else")
    return datavolume


def _is_another(metadata: ObjectMeta, uid: str | None) -> bool:
    return bool(uid) and metadata.uid != uid


def _unusable(reason: str, text: str) -> Obstacle:
    return Obstacle(reason, text, Reason.CREATE_CONTAINER_CONFIG_ERROR)


def source(real: str, *, read_only: bool) -> dict[str, Any]:
    """KubeVirt's volume source for a volume that is the claim ``real``."""
    return {_KIND: {"claimName": real, **({"readOnly": True} if read_only else {})}}


def read_only(pod: Pod, inputs: Inputs) -> set[str]:
    """The volumes that nobody may write to, by name."""
    names = claim_names(pod)
    volumes = ((str(one.get("name")), one) for one in pod.spec.volumes)
    return {name for name, one in volumes if name in names and is_read_only(one, inputs.claims.get(names[name]))}


def alone(pod: Pod, inputs: Inputs, names: dict[str, str], root: str) -> dict[str, bool]:
    """The real claims, of ``names``, that only one VM may write to at a time, each with whether this one only reads.

    Raw blocks that their claim lets many write to are for programs that know of each other; a system disk is not.
    """
    made: dict[str, bool] = {}
    for volume in pod.spec.volumes:
        if (name := str(volume.get("name"))) not in names:
            continue
        found = inputs.claims.get(claim_names(pod)[name])
        shared = found is not None and AccessMode.READ_WRITE_MANY in found.claim.spec.access_modes
        if not (shared and is_raw(found) and name != root):
            real = names[name]
            made[real] = made.get(real, True) and is_read_only(volume, found)
    return made


def is_read_only(volume: dict[str, Any], found: PodClaim | None) -> bool:
    """Whether nobody may write to it: the Pod says so of the volume, or its claim is only to be read by all."""
    modes = found.claim.spec.access_modes if found is not None else []
    return bool((volume.get(_KIND) or {}).get("readOnly")) or {*modes} == {AccessMode.READ_ONLY_MANY}


def is_raw(found: PodClaim | None) -> bool:
    """Whether the claim is of raw blocks, which hold whatever their user likes."""
    return found is not None and found.claim.spec.volume_mode == VolumeMode.BLOCK
