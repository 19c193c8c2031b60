"""What a Pod is told of its disks on their way: in KubeVirt's words, and no warning without need."""

from typing import Any

import msgspec

from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import Inputs, PodClaim, Snapshot
from kubelet_bridge.model.storage import PersistentVolumeClaim
from kubelet_bridge.translate import hotplugstate
from kubelet_bridge.translate.hotplug import Wanted
from tests.support.pods import pod, snapshot

TYPE = "kubelet-bridge.io/DisksPlugged"
MINE = Wanted("a").disk


def world(
    listed: str, *disks: dict[str, Any], phase: str = "Ready", failure: str = "", former: str = "", **changes: Any
) -> Snapshot:
    """A Pod that lists ``listed``, whose running VM has these disks."""
    spec = {"template": {"spec": {"domain": {"devices": {"disks": disks}}}}}
    broken = {"type": "Failure", "status": "True", "reason": "HotPlugVolumeError", "message": failure}
    vm = {"spec": spec, "status": {"conditions": [broken] if failure else []}}
    status = [{"name": one["name"], "phase": phase, "hotplugVolume": {}} for one in disks]
    vmi = {"metadata": {"uid": "boot-1"}, "status": {"phase": "Running", "volumeStatus": status}}
    of = pod(annotations={"kubelet-bridge.io/hotplug": listed} if listed else {})
    before = [Condition(TYPE, "True", "Plugged", former)] if former else []
    of = msgspec.structs.replace(of, status=msgspec.structs.replace(of.status, conditions=before))
    made = msgspec.structs.replace(
        snapshot(of), vm=msgspec.convert(vm, VirtualMachine), vmi=msgspec.convert(vmi, VirtualMachineInstance)
    )
    return msgspec.structs.replace(made, **changes)


def told(of: Snapshot) -> tuple[str, str, str] | None:
    assert of.pod is not None
    found = hotplugstate.condition(of, of.pod)
    return None if found is None else (found.status, found.reason, found.message)


def test_a_pod_that_lists_nothing_is_told_nothing() -> None:
    assert told(world("")) is None
    assert told(world("", {"name": "theirs", "disk": {"bus": "scsi"}})) is None


def test_what_is_there_and_what_has_gone() -> None:
    assert told(world("a", MINE)) == ("True", "Plugged", "plugged in: a")
    assert told(world("", former="plugged in: a")) == ("True", "Plugged", "plugged in: none")


def test_a_disk_on_its_way_is_no_warning() -> None:
    assert told(world("a", MINE, phase="AttachedToNode")) == ("False", "Plugging", '"a" AttachedToNode')
    assert told(world("", MINE)) == ("False", "Plugging", '"a" is being unplugged')


def test_a_claim_that_is_being_bound_is_no_warning_and_one_that_is_absent_is() -> None:
    unbound = PodClaim(msgspec.convert({"status": {"phase": "Pending"}}, PersistentVolumeClaim))
    binding = told(world("a", inputs=Inputs(claims={"a": unbound})))
    assert binding == ("False", "Plugging", 'persistentvolumeclaim "a" is not bound')
    absent = told(world("a", inputs=Inputs(claims={"a": None})))
    assert absent == ("False", "FailedAttachVolume", 'persistentvolumeclaim "a" not found')


def test_somebody_elses_disk_of_the_name_is_in_the_way() -> None:
    theirs = {"name": "a", "disk": {"bus": "scsi"}}
    found = told(world("a", theirs, inputs=Inputs(claims={"a": None}), former="plugged in: none"))
    assert found == ("False", "FailedAttachVolume", 'the machine has another disk "a"')


def test_failures_are_in_the_words_of_who_failed() -> None:
    assert told(world("a", unplugged={"a": "no room"})) == ("False", "FailedAttachVolume", '"a": no room')
    assert told(world("", MINE, unplugged={"a": "busy"})) == ("False", "FailedAttachVolume", '"a": busy')
    assert told(world("a", MINE, failure="no pod")) == ("False", "FailedAttachVolume", "no pod")


def test_what_is_not_known_now_is_left_as_it_was() -> None:
    assert told(world("a", inputs=None, former="plugged in: b")) == ("True", "Plugged", "plugged in: b")
