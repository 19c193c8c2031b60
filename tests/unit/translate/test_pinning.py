"""Which disks keep a running VM where it is, and in which words a Pod is told."""

from typing import Any

import msgspec

from kubelet_bridge.model.kubevirt import VirtualMachineInstance
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.translate import pinning


def disk(name: str, claim: str = "", *modes: str) -> dict[str, Any]:
    info = {"persistentVolumeClaimInfo": {"claimName": claim, "accessModes": list(modes)}} if claim else {}
    return {"name": name, **info}


def vmi(*disks: dict[str, Any], uid: str = "boot-1") -> VirtualMachineInstance:
    given = {"metadata": {"uid": uid}, "status": {"phase": "Running", "volumeStatus": list(disks)}}
    return msgspec.convert(given, VirtualMachineInstance)


def volume(*terms: dict[str, Any], affine: bool = True) -> PersistentVolume:
    required = {"required": {"nodeSelectorTerms": list(terms)}}
    spec = {"nodeAffinity": required} if affine else {}
    return msgspec.convert({"metadata": {"name": "pv-1"}, "spec": spec}, PersistentVolume)


def on(key: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}


def test_a_disk_that_every_node_may_have_pins_nothing() -> None:
    shared = vmi(disk("root"), disk("data", "real", "ReadWriteMany"))
    assert pinning.pinned(shared, {"real": volume(affine=False)}) == {}
    assert pinning.words(shared, {}) == ""


def test_the_nodes_of_the_volume_behind_the_claim_are_named() -> None:
    local = vmi(disk("root"), disk("data", "real", "ReadWriteOnce"))
    pinned = pinning.pinned(local, {"real": volume(on("kubernetes.io/hostname", "metal-1", "metal-2"))})
    assert pinned == {"data": "(PersistentVolume pv-1) is only where kubernetes.io/hostname in [metal-1 metal-2]"}
    assert pinning.words(local, pinned).endswith(f'while it runs: disk "data" {pinned["data"]}')


def test_a_volume_of_some_nodes_pins_also_when_many_may_write_it() -> None:
    zonal = vmi(disk("data", "real", "ReadWriteMany"))
    pinned = pinning.pinned(zonal, {"real": volume(on("zone", "a"), on("zone", "b"))})
    assert pinned == {"data": "(PersistentVolume pv-1) is only where zone in [a] or zone in [b]"}


def test_an_affinity_without_words_still_pins() -> None:
    assert "its node affinity allows" in pinning.pinned(vmi(disk("data", "real")), {"real": volume()})["data"]


def test_a_disk_for_one_pins_by_its_access_mode_alone() -> None:
    words = pinning.words(vmi(disk("root", "image", "ReadWriteOnce"), disk("data", "real", "ReadWriteMany")), {})
    assert words.endswith('disk "root" (claim image) is ReadWriteOnce')


def test_volumes_that_were_not_found_say_nothing() -> None:
    assert pinning.pinned(vmi(disk("data", "real")), {}) == {}


def test_another_boot_or_another_disk_is_another_occasion() -> None:
    one = pinning.occasion(vmi(disk("data", "real")))
    assert one == pinning.occasion(vmi(disk("root"), disk("data", "real", "ReadWriteOnce")))
    others = {
        pinning.occasion(vmi(disk("data", "real"), uid="boot-2")),
        pinning.occasion(vmi(disk("data", "real"), disk("more", "other"))),
        pinning.occasion(vmi()),
    }
    assert one not in others
    assert len(others) == 3
