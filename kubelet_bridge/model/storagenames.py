"""What objects of the disks' corridor are called, and the labels, annotations and finalizer on them.

Kubernetes' own names: ``pkg/controller/volume/persistentvolume/util/util.go`` and
``staging/src/k8s.io/component-helpers/storage/volume``; CDI's: ``pkg/controller/common/util.go``.
"""

import re

from kubelet_bridge.model.meta import PREFIX

PROVISIONER = f"disks.{PREFIX}"
"""``provisioner`` of our StorageClasses, and the name of our CSIDriver."""

FINALIZER = f"{PREFIX}/datavolume"
"""On our PersistentVolumes: they stay until their DataVolume is gone, or is kept on purpose."""

LABEL_PVC_UID = f"{PREFIX}/pvc-uid"
ANNOTATION_PVC_NAME = f"{PREFIX}/pvc-name"
ANNOTATION_BACKING_UID = f"{PREFIX}/backing-uid"
"""On our PersistentVolumes: which claim was behind the disk, should the database that knows it be lost."""

ANNOTATION_SOURCE = f"{PREFIX}/source"
ANNOTATION_SOURCE_CHECKSUM = f"{PREFIX}/source-checksum"
ANNOTATION_SOURCE_SECRET = f"{PREFIX}/source-secret"
ANNOTATION_SOURCE_CA = f"{PREFIX}/source-ca"

ANNOTATIONS_PROVISIONER = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)
"""Either spelling, on a claim, asks the provisioner of that name to act."""

ANNOTATION_SELECTED_NODE = "volume.kubernetes.io/selected-node"
ANNOTATION_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
ANNOTATION_BIND_NOW = "cdi.kubevirt.io/storage.bind.immediate.requested"

ANNOTATION_KEEP_WHEN_DONE = "cdi.kubevirt.io/storage.deleteAfterCompletion"
"""With ``false``, a CDI that removes DataVolumes which are done leaves this one: its absence would mean a loss."""

ATTRIBUTE_DATAVOLUME = "dataVolume"
ATTRIBUTE_DATAVOLUME_UID = "dataVolumeUid"

LARGEST_DISK = 4 * 2**60
"""Bytes. CDI and CSI count in 64 bits with a sign, and CDI adds to what a disk needs."""
SMALLEST_DISK = 2**20
"""Bytes. CDI's webhook refuses a smaller one (pkg/apiserver/webhooks/datavolume-validate.go)."""

_NAME_LENGTH = 54
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9-]")
_PRIME = re.compile(r"prime-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def volume_name(pvc_uid: str) -> str:
    """The PersistentVolume of a claim, as every provisioner names it."""
    return f"pvc-{pvc_uid}"


def datavolume_name(pvc_name: str, pvc_uid: str) -> str:
    """The DataVolume of a claim, and the claim behind it: a DNS label that cannot be the user's claim's own name."""
    stem = _NOT_IN_A_LABEL.sub("-", pvc_name[:_NAME_LENGTH]).strip("-") or "disk"
    return f"{stem}-{pvc_uid.replace('-', '')[:8]}"


def datavolume_of(volume_handle: str) -> str:
    """The DataVolume in a ``volumeHandle`` of ours, ``NAMESPACE/DATAVOLUME``; the claim behind it has its name."""
    return volume_handle.partition("/")[2]


def is_populators(pvc_name: str) -> bool:
    """Whether a claim is a populator's own: ``prime-`` and the uid of the claim that it fills."""
    return _PRIME.fullmatch(pvc_name) is not None
