"""What to do next about the disks of a VM that runs. Pure."""

import msgspec

from kubelet_bridge.model.intent import DiskPlaces, Intent
from kubelet_bridge.model.kubevirt import VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.actions import LookAtVolumes, Plan, Record
from kubelet_bridge.translate import pinning


def look_after_disks(snapshot: Snapshot, intent: Intent) -> Plan | None:
    """The next step; None when there is nothing to do about disks."""
    vmi = snapshot.vmi
    if vmi is None or vmi.phase is not VmiPhase.RUNNING or vmi.metadata.deletion_timestamp is not None:
        return None
    return _places(snapshot, intent, vmi)


def _places(snapshot: Snapshot, intent: Intent, vmi: VirtualMachineInstance) -> Plan | None:
    """Once per boot, and whenever a disk has come or gone: a PersistentVolume's nodes never change."""
    occasion = pinning.occasion(vmi)
    claims = pinning.claims(vmi)
    if occasion == intent.disk_places.occasion or not (claims or intent.disk_places.pinned):
        return None
    if claims and snapshot.volumes is None:
        return Plan(step=LookAtVolumes(tuple(sorted({*claims.values()}))))
    seen = DiskPlaces(occasion, pinning.pinned(vmi, snapshot.volumes or {}))
    return Plan(step=Record(msgspec.structs.replace(intent, disk_places=seen), "DisksSeen"))
