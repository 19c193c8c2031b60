"""What is done about the disks of a VM that runs."""

from typing import Any

import msgspec

from kubelet_bridge.model.intent import DiskPlaces, Intent
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.snapshot import Inputs, PodClaim, Snapshot
from kubelet_bridge.model.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import PROVISIONER
from kubelet_bridge.reconcile.actions import LookAtVolumes, LookUp, Plug, Record, SelectNode, Step, Unplug
from kubelet_bridge.reconcile.diskplanner import look_after_disks
from kubelet_bridge.translate import pinning
from kubelet_bridge.translate.annotations import HOTPLUG
from kubelet_bridge.translate.hotplug import Wanted
from tests.support.pods import bound_claim, pod, snapshot

AFFINE = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}]}}
LOCAL = msgspec.convert({"metadata": {"name": "pv-1"}, "spec": {"nodeAffinity": AFFINE}}, PersistentVolume)

UNSEEN = DiskPlaces()


def running(*claims: str, phase: str = "Running") -> VirtualMachineInstance:
    status: list[dict[str, Any]] = [{"name": "root"}]
    status += [{"name": f"disk-{one}", "persistentVolumeClaimInfo": {"claimName": one}} for one in claims]
    given = {"metadata": {"uid": "boot-1"}, "status": {"phase": phase, "volumeStatus": status}}
    return msgspec.convert(given, VirtualMachineInstance)


def world(vmi: VirtualMachineInstance | None, **changes: Any) -> Snapshot:
    return msgspec.structs.replace(snapshot(pod()), **{"vm": VirtualMachine(), "vmi": vmi, **changes})


def step(of: Snapshot, places: DiskPlaces = UNSEEN) -> Step | None:
    assert of.intent is not None
    assert of.pod is not None
    planned = look_after_disks(of, of.pod, msgspec.structs.replace(of.intent, disk_places=places), "vnode")
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


def plugging(text: str, *disks: dict[str, Any], leaving: str = "", **changes: Any) -> Snapshot:
    """A running VM with these disks, of a Pod that asks for ``text``."""
    spec = {"domain": {"devices": {"disks": disks}}, "volumes": [{"name": one["name"]} for one in disks]}
    vm = msgspec.convert({"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}, VirtualMachine)
    status = [{"name": one["name"], "phase": "Ready", "hotplugVolume": {}} for one in disks]
    status += [{"name": leaving, "phase": "Detaching", "hotplugVolume": {}}] if leaving else []
    given = {"metadata": {"uid": "boot-1"}, "status": {"phase": "Running", "volumeStatus": status}}
    of = pod(annotations={HOTPLUG: text})
    more = {"vm": vm, "vmi": msgspec.convert(given, VirtualMachineInstance), "pod": of, **changes}
    return msgspec.structs.replace(snapshot(of), **{"inputs": Inputs(claims={"a": bound_claim("a")}), **more})


A, B = Wanted("a").disk, Wanted("b").disk


def test_out_before_in() -> None:
    assert step(plugging("a", B)) == Unplug("web", "b")
    plug = step(plugging("a"))
    assert isinstance(plug, Plug)
    assert (plug.vm, plug.name) == ("web", "a")


def test_a_disk_that_is_to_change_goes_out_and_comes_back_when_it_has_gone() -> None:
    assert step(plugging("a:virtio", A)) == Unplug("web", "a")
    assert step(plugging("a:virtio", leaving="a")) is None
    assert isinstance(step(plugging("a:virtio")), Plug)


def test_claims_are_read_only_when_a_disk_is_missing() -> None:
    assert step(plugging("a", inputs=None)) == LookUp()
    assert isinstance(step(plugging("a", A, inputs=None)), Record)
    assert step(plugging("a", {"name": "a", "disk": {"bus": "scsi"}}, inputs=None)) == LookUp()


def test_what_was_refused_is_not_asked_for_again_at_once() -> None:
    assert step(plugging("a", unplugged={"a": "no"})) is None
    assert isinstance(step(plugging("", A, unplugged={"a": "no"})), Record)


def test_a_disk_that_cannot_come_holds_no_other_up() -> None:
    plug = step(plugging("absent, a"))
    assert isinstance(plug, Plug)
    assert plug.name == "a"


def test_a_claim_of_ours_that_waits_is_told_of_this_node() -> None:
    head = {"name": "a", "uid": "claim-1"}
    claim = msgspec.convert({"metadata": head, "status": {"phase": "Pending"}}, PersistentVolumeClaim)
    of = {"provisioner": PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer"}
    waiting = PodClaim(claim, storage_class=msgspec.convert(of, StorageClass))
    assert step(plugging("a", inputs=Inputs(claims={"a": waiting}))) == SelectNode("a", "claim-1", "vnode")


def test_somebody_elses_disk_is_left_where_it_is() -> None:
    assert step(plugging("", {"name": "theirs", "disk": {"bus": "scsi"}})) is None


def attached(of: Snapshot, before: list[str]) -> list[str] | None:
    assert of.intent is not None
    found = step(msgspec.structs.replace(of, intent=msgspec.structs.replace(of.intent, attached=before)))
    return found.intent.attached if isinstance(found, Record) else None


def test_what_the_guest_has_is_written_down_once() -> None:
    assert attached(plugging("a", A), []) == ["a"]
    assert attached(plugging("a", A), ["a"]) is None
    assert attached(plugging("", leaving="a"), ["a"]) is None
    assert attached(plugging(""), ["a"]) == []


def test_nothing_is_looked_at_without_need() -> None:
    for vmi in (None, running(), running("a", phase="Scheduled")):
        assert step(world(vmi)) is None
