"""The development cluster's own storage, as objects: a CSI driver, two classes, and what CDI should know of them.

The dev hosts provision both with files below the cluster's directory (``devhost/storage``). A CSIDriver has to be
there: CDI populates the claims of such classes by its populators, and others in an older way. Attaching is nothing but
the file being there, on every host.
"""

from kubelet_bridge.devcluster.manifests import Manifest
from kubelet_bridge.model.resources import CSIDRIVERS, STORAGECLASSES, STORAGEPROFILES

DRIVER = "storage.dev-host.kubelet-bridge.io"
LOCAL, REPLICATED = "dev-local", "dev-replicated"
CLASSES = (LOCAL, REPLICATED)

_BINDING = {LOCAL: "WaitForFirstConsumer", REPLICATED: "Immediate"}
_ACCESS = {LOCAL: ["ReadWriteOnce"], REPLICATED: ["ReadWriteMany", "ReadWriteOnce"]}
"""The access mode CDI chooses is the first."""

_MODES = {LOCAL: ["Filesystem", "Block"], REPLICATED: ["Block", "Filesystem"]}
"""Live migration wants a shared Block volume: that is what replicated storage offers first."""


def classes() -> list[Manifest]:
    """The CSIDriver and the StorageClasses. ``dev-replicated`` is the cluster's default, as in most clusters."""
    return [
        {
            "apiVersion": CSIDRIVERS.api_version, "kind": CSIDRIVERS.kind, "metadata": {"name": DRIVER},
            "spec": {
                "attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "None", "storageCapacity": False,
                "volumeLifecycleModes": ["Persistent"],
            },
        },
        *(_storage_class(name) for name in CLASSES),
    ]  # fmt: skip


def profiles() -> list[Manifest]:
    """StorageProfiles: CDI's table of provisioners does not have ours. Without snapshots a clone is a copy."""
    return [
        {
            "apiVersion": STORAGEPROFILES.api_version, "kind": STORAGEPROFILES.kind, "metadata": {"name": name},
            "spec": {
                "cloneStrategy": "copy",
                "claimPropertySets": [{"accessModes": _ACCESS[name], "volumeMode": mode} for mode in _MODES[name]],
            },
        }
        for name in CLASSES
    ]  # fmt: skip


def _storage_class(name: str) -> Manifest:
    default = {"storageclass.kubernetes.io/is-default-class": "true"} if name == REPLICATED else {}
    return {
        "apiVersion": STORAGECLASSES.api_version, "kind": STORAGECLASSES.kind,
        "metadata": {"name": name, "annotations": default},
        "provisioner": DRIVER, "volumeBindingMode": _BINDING[name], "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
    }  # fmt: skip
