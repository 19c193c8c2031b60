"""What a Pod may ask to be plugged in, what is in the way of it, and what KubeVirt is asked for."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.snapshot import PodClaim
from kubelet_bridge.model.storage import PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import PROVISIONER
from kubelet_bridge.translate import hotplug
from kubelet_bridge.translate.claims import Obstacle
from kubelet_bridge.translate.hotplug import NeedsNode, PlugBus, Wanted, Wish
from tests.support.pods import bound_claim, pod


def asking(text: str) -> Pod:
    return pod(annotations={"kubelet-bridge.io/hotplug": text})


def machine(*disks: tuple[dict[str, Any], dict[str, Any]]) -> VirtualMachine:
    """A VM with these disks and their volumes."""
    spec = {"domain": {"devices": {"disks": [one for one, _ in disks]}}, "volumes": [one for _, one in disks]}
    return msgspec.convert({"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}, VirtualMachine)


def disk(name: str, claim: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    source = {"claimName": claim, "hotpluggable": True}
    return {"name": name, "disk": {"bus": "scsi"}, **more}, {"name": name, "persistentVolumeClaim": source}


def plugged(wanted: Wanted, claim: str) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = hotplug.options(wanted, claim)
    return asked["disk"], {"name": asked["name"], **asked["volumeSource"]}


def pending(provisioner: str, mode: str, **annotations: str) -> PodClaim:
    head = {"name": "data", "uid": "claim-1", "annotations": annotations}
    claim = msgspec.convert({"metadata": head, "status": {"phase": "Pending"}}, PersistentVolumeClaim)
    of = {"metadata": {"name": "fast"}, "provisioner": provisioner, "volumeBindingMode": mode}
    return PodClaim(claim, storage_class=msgspec.convert(of, StorageClass))


def test_a_list_with_options() -> None:
    wish = hotplug.wish(asking(" a, b:virtio ,c:readonly:scsi,, d : readonly "))
    assert wish == Wish(
        [
            Wanted("a"), Wanted("b", PlugBus.VIRTIO), Wanted("c", read_only=True), Wanted("d", read_only=True),
        ],
        [],
    )  # fmt: skip
    assert hotplug.wish(pod()) == Wish([], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:sata", "'sata' is none of scsi, virtio, readonly"),
        ("a:scsi:virtio", "one bus"),
        ("a, a:virtio", "listed twice"),
        (":scsi", "names no claim"),
    ],
)
def test_a_fault_is_told_and_the_rest_counts(text: str, words: str) -> None:
    wish = hotplug.wish(asking(f"{text}, good"))
    assert len(wish.faults) == 1
    assert words in wish.faults[0]
    assert "good" in [one.claim for one in wish.disks]


def test_there_is_an_end() -> None:
    wish = hotplug.wish(asking(",".join(f"disk-{number}" for number in range(hotplug.MOST + 2))))
    assert (len(wish.disks), len(wish.faults)) == (hotplug.MOST, 2)


def test_names_are_labels_and_tell_claims_apart() -> None:
    assert Wanted("data").name == "data"
    dotted, dashed, long = Wanted("a.b").name, Wanted("a-b").name, Wanted("x" * 80).name
    assert dotted.startswith("a-b-")
    assert len({dotted, dashed}) == 2
    assert len(long) == 63


def test_what_kubevirt_is_asked_for() -> None:
    assert hotplug.options(Wanted("data", read_only=True), "data-1a2b3c4d") == {
        "name": "data",
        "disk": {"name": "data", "disk": {"bus": "scsi", "readonly": True}, "serial": "data", "tag": hotplug.TAG},
        "volumeSource": {
            "persistentVolumeClaim": {"claimName": "data-1a2b3c4d", "hotpluggable": True, "readOnly": True}
        },
    }


def test_only_what_says_so_is_ours() -> None:
    vm = machine(plugged(Wanted("mine"), "real"), disk("theirs", "other", serial="mine"))
    assert hotplug.ours(vm).keys() == {"mine"}
    mine = hotplug.ours(vm)["mine"]
    assert hotplug.is_as_wanted({**mine, "cache": "none"}, Wanted("mine"))
    assert not hotplug.is_as_wanted(mine, Wanted("mine", PlugBus.VIRTIO))
    assert not hotplug.is_as_wanted(mine, Wanted("mine", read_only=True))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "not found"),
        (pending(PROVISIONER, "Immediate"), "not bound"),
        (pending(PROVISIONER, "WaitForFirstConsumer", **{"volume.kubernetes.io/selected-node": "n"}), "not bound"),
        (bound_claim("data", accessModes=["ReadWriteOncePod"]), "ReadWriteOncePod"),
    ],
    ids=["absent", "unbound", "selected", "for one Pod"],
)
def test_a_claim_that_cannot_be_plugged_in(found: PodClaim | None, words: str) -> None:
    obstacle = hotplug.real(Wanted("data"), found, machine())
    assert isinstance(obstacle, Obstacle)
    assert words in obstacle.text


def test_who_the_first_consumer_is() -> None:
    ours = pending(PROVISIONER, "WaitForFirstConsumer")
    theirs = pending("csi.example.com", "WaitForFirstConsumer")
    assert hotplug.real(Wanted("data"), ours, machine()) == NeedsNode("data", "claim-1")
    assert hotplug.real(Wanted("data"), theirs, machine()) == "data"


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (disk("data", "other"), 'another disk "data"'),
        (disk("else", "data"), 'is disk "else" of the machine already'),
        (disk("else", "other", serial="data"), "serial number"),
    ],
    ids=["name", "claim", "serial"],
)
def test_a_clash_is_refused(there: tuple[dict[str, Any], dict[str, Any]], words: str) -> None:
    obstacle = hotplug.real(Wanted("data"), bound_claim("data"), machine(there))
    assert isinstance(obstacle, Obstacle)
    assert words in obstacle.text


def test_a_manifest_takes_along_what_is_plugged_in() -> None:
    root = ({"name": "root", "disk": {"bus": "virtio"}}, {"name": "root", "containerDisk": {"image": "old"}})
    gone = ({"name": "gone", "disk": {"bus": "virtio"}}, {"name": "gone", "emptyDisk": {"capacity": "1Gi"}})
    new = {"name": "root", "containerDisk": {"image": "new"}}
    spec = {"domain": {"devices": {"disks": [root[0]], "rng": {}}}, "volumes": [new]}
    given = {"kind": "VirtualMachine", "spec": {"template": {"metadata": {}, "spec": spec}}}
    theirs, mine = disk("theirs", "other"), plugged(Wanted("mine"), "real")
    made = hotplug.carried(given, machine(root, gone, theirs, mine))["spec"]["template"]["spec"]
    assert made["volumes"] == [new, theirs[1], mine[1]]
    assert made["domain"]["devices"] == {"disks": [root[0], theirs[0], mine[0]], "rng": {}}
    assert spec["volumes"] == [new]
