"""Disks that come and go while a guest runs: which are to be plugged in, and what is reported of them. Pure.

An attachment Pod, which virt-controller makes, brings the volume to the host. Follows pkg/virt-handler/vm.go in
KubeVirt (updateHotplugVolumeStatus).
"""

from typing import Any

_ATTACHED, _MOUNTED, _READY, _UNMOUNTED = "AttachedToNode", "MountedToPod", "Ready", "UnMountedFromPod"
_HERE = (_ATTACHED, _MOUNTED, _READY)
"""Phases in which the volume is on the host."""


def statuses(vmi: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of ``status.volumeStatus`` that are about such disks."""
    return [one for one in vmi["status"].get("volumeStatus", []) if one.get("hotplugVolume") is not None]


def wanted(vmi: dict[str, Any]) -> frozenset[str]:
    """The names of the disks that are to be plugged in now."""
    asked = {volume["name"] for volume in vmi["spec"].get("volumes", [])}
    asked &= {disk["name"] for disk in vmi["spec"]["domain"]["devices"].get("disks", [])}
    here = {
        one["name"] for one in statuses(vmi) if one.get("phase") in _HERE and one["hotplugVolume"].get("attachPodUID")
    }
    return frozenset(asked & here)


def reported(status: dict[str, Any], target: str, *, asked: bool, plugged: bool) -> dict[str, Any]:
    """An entry as it is to be: ``target`` is the guest's name of the disk, ``asked`` whether the spec still has it."""
    name, phase = status["name"], status.get("phase")
    if plugged:
        message = f"Successfully attach hotplugged volume {name} to VM"
        return status | {"target": target, "phase": _READY, "reason": "VolumeReady", "message": message}
    bare = status | {"target": ""}  # without it KubeVirt's schema refuses the whole status
    if asked and phase == _ATTACHED:
        message = f"Volume {name} has been mounted in virt-launcher pod"
        return bare | {"phase": _MOUNTED, "reason": "VolumeMountedToPod", "message": message}
    if not asked and phase in _HERE:
        message = f"Volume {name} has been unmounted from virt-launcher pod"
        return bare | {"phase": _UNMOUNTED, "reason": "VolumeUnMountedFromPod", "message": message}
    return bare
