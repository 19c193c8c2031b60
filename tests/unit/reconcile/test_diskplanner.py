"""What is done about the disks of a VM that runs."""

from typing import Any

import msgspec

from kubelet_bridge.model.intent import DiskPlaces, Intent
from kubelet_bridge.model.kubevirt import VirtualMachineInstance
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.reconcile.actions import LookAtVolumes, Record, Step
from kubelet_bridge.reconcile.diskplanner import look_after_disks
from kubelet_bridge.translate import pinning
from tests.support.pods import pod, snapshot

AFFINE = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}]}}
LOCAL = msgspec.convert({"metadata": {"name": "pv-1"}, "spec": {"nodeAffinity": AFFINE}}, PersistentVolume)

UNSEEN = DiskPlaces()


def running(*claims: str, phase: str = "Running") -> VirtualMachineInstance:
    status: list[dict[str, Any]] = [{"name": "root"}]
    status += [{"name": f"disk-{one}", "persistentVolumeClaimInfo": {"claimName": one}} for one in claims]
    given = {"metadata": {"uid": "boot-1"}, "status": {"phase": phase, "volumeStatus": status}}
    return msgspec.convert(given, VirtualMachineInstance)


def world(vmi: VirtualMachineInstance | None, **changes: Any) -> Snapshot:
    return msgspec.structs.replace(snapshot(pod()), vmi=vmi, **changes)


def step(of: Snapshot, places: DiskPlaces = UNSEEN) -> Step | None:
    assert of.intent is not None
    planned = look_after_disks(of, msgspec.structs.replace(of.intent, disk_places=places))
    return None if planned is None else planned.step


def recorded(of: Snapshot, places: DiskPlaces = UNSEEN) -> Intent:
    found = step(of, places)
    assert isinstance(found, Record)
    return found.intent


def test_the_volumes_of_a_boot_are_looked_at_once() -> None:
    vmi = running("b", "a")
    assert step(world(vmi)) == LookAtVolumes(("a", "b"))
    seen = recorded(world(vmi, volumes={"a": LOCAL})).disk_places
    assert seen.pinned == {"disk-a": "(PersistentVolume pv-1) is only where k in [v]"}
    assert step(world(vmi), seen) is None
    assert step(world(running("a", "b", "c")), seen) == LookAtVolumes(("a", "b", "c"))


def test_a_disk_that_went_pins_no_more() -> None:
    places = DiskPlaces(pinning.occasion(running("a")), {"disk-a": "there"})
    assert recorded(world(running()), places).disk_places.pinned == {}


def test_nothing_is_looked_at_without_need() -> None:
    for vmi in (None, running(), running("a", phase="Scheduled")):
        assert step(world(vmi)) is None
