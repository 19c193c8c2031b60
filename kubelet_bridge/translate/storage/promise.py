"""What is promised to a claim: the claim's wishes, its class's parameters and what both point at, put together."""

from typing import Any

from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.storage import (
    AccessMode,
    BindingMode,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeMode,
)
from kubelet_bridge.model.storagenames import (
    ANNOTATION_BACKING_UID,
    LARGEST_DISK,
    PROVISIONER,
    SMALLEST_DISK,
    datavolume_of,
)
from kubelet_bridge.model.volumeintent import Promise
from kubelet_bridge.model.volumesnapshot import ImageOffer, Origin, VolumeInputs
from kubelet_bridge.translate.storage.classparameters import ClassParameters, class_parameters
from kubelet_bridge.translate.storage.refusal import NotYet, failed
from kubelet_bridge.translate.storage.sources import Blank, Clone, Download, Image, Source, Upload, download, of_claim
from kubelet_bridge.translate.storage.trigger import clone_source

SIZE_FIELD = "spec.resources.requests.storage"
_SHARED = (AccessMode.READ_WRITE_MANY, AccessMode.READ_ONLY_MANY)
_SINGLE = (AccessMode.READ_WRITE_ONCE, AccessMode.READ_WRITE_ONCE_POD)


def wanted_source(claim: PersistentVolumeClaim, parameters: ClassParameters) -> Source:
    """What the disk is to begin with: ``dataSource``, else the claim's annotation, else the class's parameter.

    Raises:
        CannotProvision: the claim names two, or none that there is.
    """
    named, cloned = of_claim(claim.metadata.annotations), clone_source(claim)
    if named is not None and cloned:
        raise failed(f"the claim names two sources: its dataSource, claim {cloned}, and by annotation, {named}")
    if cloned:
        return Clone(cloned)
    return named or parameters.source or Blank()


def promise(claim: PersistentVolumeClaim, inputs: VolumeInputs) -> Promise:
    """The disk for ``claim``.

    Raises:
        CannotProvision: there can be none, for now or for ever; the message says why.
        NotYet: its image is on its way.
    """
    storage_class = inputs.storage_class
    if storage_class is None:
        raise failed(f"storage class {claim.spec.storage_class_name!r} is not there")
    _check_wishes(claim)
    parameters = class_parameters(storage_class.parameters)
    source = wanted_source(claim, parameters)
    _check_backing(parameters, inputs.backing)
    size, awaits = _size(claim), storage_class.volume_binding_mode == BindingMode.WAIT_FOR_FIRST_CONSUMER
    return Promise(
        size=size.canonical(),
        access_modes=list(claim.spec.access_modes),
        volume_mode=claim.spec.volume_mode,
        storage_class=storage_class.metadata.name,
        reclaim=storage_class.reclaim_policy,
        backing_class=parameters.backing_class,
        backing_access_mode=_backing_access_mode(claim, parameters),
        backing_volume_mode=parameters.volume_mode,
        preallocation=parameters.preallocation,
        awaits_consumer=awaits,
        # An upload has no consumer until it is there, and a class that waits for none must not end up waiting.
        bind_now=isinstance(source, Upload) or not awaits,
        source=str(source),
        population=_population(source, claim, size, inputs),
    )


def _check_wishes(claim: PersistentVolumeClaim) -> None:
    """A wish that is not granted would leave claim and volume waiting for each other without a word."""
    if claim.spec.selector:
        raise failed("spec.selector: a selector looks for a volume that is there; this class makes a new disk instead")
    if claim.spec.volume_attributes_class_name:
        raise failed("spec.volumeAttributesClassName: disks of this class have no attributes that could be chosen")


def _check_backing(parameters: ClassParameters, backing: StorageClass | None) -> None:
    if not parameters.backing_class:
        return
    if backing is None:
        raise failed(f"the class's backingClass is {parameters.backing_class!r}, and there is no such storage class")
    if backing.provisioner == PROVISIONER:
        raise failed(f"the class's backingClass {parameters.backing_class!r} is no real class: it is of the same kind")


def _size(claim: PersistentVolumeClaim) -> Quantity:
    size = claim.spec.resources.storage
    if not size:
        raise failed(f"{SIZE_FIELD}: the claim asks for no storage")
    if size.ceil() < SMALLEST_DISK:
        raise failed(f"{SIZE_FIELD}: {size} is less than the least disk, {Quantity.of_bytes(SMALLEST_DISK)}")
    if size.ceil() > LARGEST_DISK:
        raise failed(f"{SIZE_FIELD}: {size} is more than the largest disk, {Quantity.of_bytes(LARGEST_DISK)}")
    return size


def _backing_access_mode(claim: PersistentVolumeClaim, parameters: ClassParameters) -> str:
    """What the real claim must allow for the claim to keep its word; empty: whatever its class does best.

    ReadWriteOncePod stays with the claim: the launcher is another Pod, and the only one that has the real claim.
    """
    shared = next((mode for mode in _SHARED if mode in claim.spec.access_modes), None)
    if shared is AccessMode.READ_WRITE_MANY and claim.spec.volume_mode != VolumeMode.BLOCK:
        raise failed(
            "spec.accessModes: ReadWriteMany needs volumeMode Block: each virtual machine would write to the file"
            " system as if it were alone, and destroy it"
        )
    if shared is not None and parameters.access_mode in _SINGLE:
        raise failed(
            f"spec.accessModes: the claim asks for {shared}, and the class's real claims are {parameters.access_mode}"
        )
    return parameters.access_mode or (shared.value if shared else "")


def _population(source: Source, claim: PersistentVolumeClaim, size: Quantity, inputs: VolumeInputs) -> dict[str, Any]:
    match source:
        case Blank():
            return {"source": {"blank": {}}}
        case Upload():
            return {"source": {"upload": {}}}
        case Download():
            return {"source": download(source)}
        case Image(name):
            return _of_image(name, size, inputs.image)
        case Clone(name):
            return {"source": {"pvc": _cloned(name, claim, size, inputs.origin or Origin())}}


def _of_image(name: str, size: Quantity, offer: ImageOffer | None) -> dict[str, Any]:
    if offer is None:
        raise failed(f"this node has no catalogue in which to look up image {name!r}")
    if offer.waiting:
        raise NotYet(f"image {name!r} has to be fetched first: {offer.waiting}", reason="WaitingForImage")
    if offer.minimum and size < (least := Quantity.parse(offer.minimum)):
        raise failed(f"{SIZE_FIELD}: {size} is smaller than image {name!r}, which needs a disk of {least}")
    if not offer.population:
        raise failed(offer.trouble or f"image {name!r} cannot be had")
    return offer.population


def _cloned(name: str, claim: PersistentVolumeClaim, size: Quantity, origin: Origin) -> dict[str, Any]:
    """The real claim behind the one to clone."""
    if origin.claim is None:
        raise failed(f"claim {name}, which is to be cloned, is not there")
    if origin.claim.metadata.uid == claim.metadata.uid:
        raise failed("a claim cannot be a clone of itself")
    if origin.volume is None:
        raise failed(f"claim {name}, which is to be cloned, is not bound yet")
    if size < (least := max(origin.claim.capacity, origin.volume.capacity)):
        raise failed(
            f"{SIZE_FIELD}: {size} is smaller than claim {name}, of which it is to be a clone, and which has {least}"
        )
    _check_origin(name, claim, origin.volume, origin.real)
    return {"namespace": claim.metadata.namespace, "name": behind(origin.volume) or name}


def _check_origin(
    name: str, claim: PersistentVolumeClaim, volume: PersistentVolume, real: PersistentVolumeClaim | None
) -> None:
    """A clone of what somebody made anew would be an empty disk that looks like a full one."""
    filled = volume.metadata.annotations.get(ANNOTATION_BACKING_UID)
    if filled and real is not None and real.metadata.uid != filled:
        raise failed(f"claim {name}, which is to be cloned, has lost its disk: it was deleted by somebody else")
    own = volume.spec.csi.volume_handle.partition("/")[0] if behind(volume) and volume.spec.csi is not None else ""
    if own and own != claim.metadata.namespace:
        raise failed(f"the disk of claim {name}, which is to be cloned, is in namespace {own}")


def behind(volume: PersistentVolume) -> str:
    """Name of the real claim of a volume of ours; empty for any other volume."""
    csi = volume.spec.csi
    if csi is None or csi.driver != PROVISIONER:
        return ""
    return datavolume_of(csi.volume_handle)
