"""Which claims a VM can have as disks, and what a Pod is told of the others."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import ObjectMeta
from kubelet_bridge.model.snapshot import Inputs, PodClaim
from kubelet_bridge.model.storage import DataVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import PROVISIONER
from kubelet_bridge.translate.claims import alone, real_claims
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.support import refusals
from tests.support.catalogue import CATALOGUE
from tests.support.pods import CONFIG, bound_claim, container, instance, pod

WITH_CLAIM = pod({"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]})
OURS = {
    "csi": {
        "driver": PROVISIONER, "volumeHandle": "shop/data-1a2b3c4d", "volumeAttributes": {"dataVolumeUid": "dv-1"},
    },
    "nodeAffinity": {"required": {"nodeSelectorTerms": []}},
}  # fmt: skip


def of(found: PodClaim | None) -> dict[str, str]:
    return real_claims(WITH_CLAIM, Inputs(claims={"data": found}))


def ours(uid: str | None = "dv-1") -> PodClaim:
    claim = bound_claim("data", volume=OURS, accessModes=["ReadWriteOncePod"])
    made = msgspec.convert({"metadata": {"name": "data-1a2b3c4d", "uid": uid}}, DataVolume) if uid else None
    return msgspec.structs.replace(claim, datavolume=made)


def unbound(provisioner: str, mode: str) -> PodClaim:
    given = {"metadata": {"name": "real"}, "provisioner": provisioner, "volumeBindingMode": mode}
    claim = msgspec.convert({"metadata": {"name": "data"}, "status": {"phase": "Pending"}}, PersistentVolumeClaim)
    return PodClaim(claim, storage_class=msgspec.convert(given, StorageClass))


def test_a_claim_of_ours_is_the_one_behind_its_datavolume() -> None:
    assert of(ours()) == {"disk": "data-1a2b3c4d"}


def test_any_other_bound_claim_is_used_as_it_is() -> None:
    assert of(bound_claim("data")) == {"disk": "data"}


@pytest.mark.parametrize(
    ("found", "waiting", "event", "word"),
    [
        (None, "ContainerCreating", "FailedMount", "not found"),
        (unbound(PROVISIONER, "WaitForFirstConsumer"), "ContainerCreating", "FailedMount", "not bound"),
        (unbound("csi.example.com", "Immediate"), "ContainerCreating", "FailedMount", "not bound"),
        (
            unbound("csi.example.com", "WaitForFirstConsumer"),
            "CreateContainerConfigError", "UnsupportedBindingMode", "backingClass (real)",
        ),
        (
            bound_claim("data", accessModes=["ReadWriteOncePod"]),
            "CreateContainerConfigError", "UnsupportedAccessMode", "ReadWriteOncePod",
        ),
        (ours(None), "CreateContainerConfigError", "VolumeLost", "deleted by somebody else"),
        (ours("dv-2"), "CreateContainerConfigError", "VolumeLost", "deleted by somebody else"),
    ],
    ids=["absent", "ours, unbound", "immediate, unbound", "waiting", "for one Pod", "lost", "another"],
)  # fmt: skip
def test_a_claim_that_cannot_be_a_disk_is_told(found: PodClaim | None, waiting: str, event: str, word: str) -> None:
    with pytest.raises(MissingInputs) as raised:
        of(found)
    error = raised.value
    assert (error.waiting.value, [note.reason for note in error.notes]) == (waiting, [event])
    assert word in error.message


def disks(**annotations: str) -> dict[str, Any]:
    marked = {f"kubelet-bridge.io/disk.disk.{name.replace('_', '-')}": value for name, value in annotations.items()}
    metadata = msgspec.structs.replace(WITH_CLAIM.metadata, annotations=marked)
    made = instance(msgspec.structs.replace(WITH_CLAIM, metadata=metadata))
    return {one["name"]: one for one in made["domain"]["devices"]["disks"]}


def test_a_disk_is_virtio_and_the_image_boots_unless_something_else_is_asked_for() -> None:
    plain = disks()
    assert plain["disk"] == {"name": "disk", "disk": {"bus": "virtio"}, "serial": "disk"}
    assert plain["root"]["bootOrder"] == 1
    assert disks(bus="scsi")["disk"]["disk"] == {"bus": "scsi"}


def test_a_cdrom_is_read_only_and_on_a_bus_that_has_one() -> None:
    assert disks(cdrom="true")["disk"]["cdrom"] == {"bus": "sata", "readonly": True}
    assert disks(cdrom="true", bus="usb")["disk"]["cdrom"] == {"bus": "usb", "readonly": True}


def test_a_disk_may_boot_before_the_image() -> None:
    ordered = disks(boot_order="1")
    assert (ordered["disk"]["bootOrder"], ordered["root"]["bootOrder"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("disk.other.bus", "virtio"), ("disk.disk.bus", "ide"), ("disk.disk.cdrom", "yes"), ("disk.disk.boot-order", "0"),
     ("disk.disk.colour", "red")],
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused(name: str, value: str) -> None:
    asked: Pod = pod(msgspec.to_builtins(WITH_CLAIM.spec), annotations={f"kubelet-bridge.io/{name}": value})
    assert [one.field for one in refusals(asked, CONFIG)] == [f"metadata.annotations[kubelet-bridge.io/{name}]"]


def test_a_pod_without_claims_needs_none() -> None:
    assert real_claims(container(), Inputs()) == {}


def booted(image: str) -> list[tuple[str, Any]]:
    """By name, what the volumes of a VM with ``image`` and a claim of ours are, in their order."""
    volumes = WITH_CLAIM.spec.volumes
    asked = pod({"containers": [{"name": "app", "image": image}], "volumes": volumes})
    node = msgspec.structs.replace(CONFIG, images=ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge"))
    found = instance(asked, Inputs(claims={"data": ours()}), node)["volumes"]
    return [(name, one[name]) for one in found for name in one if name not in ("name", "cloudInitNoCloud")]


def test_a_vm_with_an_image_has_its_own_disk_beside_the_claims() -> None:
    (root, own), claim = booted("debian-12")
    assert root == "dataVolume"
    assert own["name"].startswith("web-root-")
    assert claim == ("persistentVolumeClaim", {"claimName": "data-1a2b3c4d"})


def test_a_vm_boots_from_the_claim_behind_ours() -> None:
    assert booted("pvc://data") == [("persistentVolumeClaim", {"claimName": "data-1a2b3c4d"})]


@pytest.mark.parametrize(
    ("modes", "volume_mode", "read_only", "root", "wanted"),
    [
        (["ReadWriteOnce"], "Filesystem", False, "", {"real": False}),
        (["ReadWriteOnce"], "Filesystem", True, "", {"real": True}),
        (["ReadOnlyMany"], "Filesystem", False, "", {"real": True}),
        (["ReadWriteMany"], "Filesystem", False, "", {"real": False}),
        (["ReadWriteMany"], "Block", False, "", {}),
        (["ReadWriteMany"], "Block", False, "disk", {"real": False}),
        (["ReadWriteOnce"], "Block", False, "", {"real": False}),
    ],
)
def test_only_raw_blocks_that_many_may_write_to_are_for_several_vms(
    modes: list[str], volume_mode: str, read_only: bool, root: str, wanted: dict[str, bool]
) -> None:
    volume = {"name": "disk", "persistentVolumeClaim": {"claimName": "data", "readOnly": read_only}}
    claim = bound_claim("data", accessModes=modes, volumeMode=volume_mode)
    assert alone(pod({"volumes": [volume]}), Inputs(claims={"data": claim}), {"disk": "real"}, root) == wanted


def test_a_disk_whose_volume_was_given_to_a_claim_elsewhere_stays_where_it_is() -> None:
    claim = bound_claim("data", volume={"csi": {**OURS["csi"], "volumeHandle": "office/data-1a2b3c4d"}})
    with pytest.raises(MissingInputs, match="is in namespace office"):
        of(claim)


@pytest.mark.parametrize(
    ("real", "datavolume", "reason"),
    [
        ({"uid": "real-1"}, {}, None),
        ({"uid": "real-2"}, {}, "VolumeLost"),
        ({"uid": "real-1", "deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, "VolumeEndangered"),
        ({"uid": "real-1"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "VolumeEndangered"),
    ],
)
def test_no_vm_begins_on_a_claim_that_cdi_made_anew_or_that_is_going(
    real: dict[str, Any], datavolume: dict[str, Any], reason: str | None
) -> None:
    claim, head = ours(), {"annotations": {"kubelet-bridge.io/backing-uid": "real-1"}}
    assert claim.volume is not None
    found = msgspec.structs.replace(
        claim, volume=msgspec.structs.replace(claim.volume, metadata=msgspec.convert(head, ObjectMeta)),
        real=msgspec.convert({"metadata": real}, PersistentVolumeClaim),
        datavolume=msgspec.convert({"metadata": {"uid": "dv-1", **datavolume}}, DataVolume),
    )  # fmt: skip
    if reason is None:
        assert of(found) == {"disk": "data-1a2b3c4d"}
        return
    with pytest.raises(MissingInputs) as raised:
        of(found)
    assert [one.reason for one in raised.value.notes] == [reason]


def test_a_claim_that_all_may_only_read_is_a_read_only_disk() -> None:
    claims = {"data": bound_claim("data", accessModes=["ReadOnlyMany"])}
    made = instance(WITH_CLAIM, Inputs(claims=claims))
    (volume,) = (one for one in made["volumes"] if one["name"] == "disk")
    (disk,) = (one for one in made["domain"]["devices"]["disks"] if one["name"] == "disk")
    assert volume["persistentVolumeClaim"] == {"claimName": "data", "readOnly": True}
    assert disk["disk"]["readonly"] is True
