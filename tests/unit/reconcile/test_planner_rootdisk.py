"""When the disk that a VM boots from is made: after the promise, before the VM, and again for another image."""

from datetime import UTC, datetime

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import RootDisk
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import ObjectMeta
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.actions import Create, MakeRootDisk, Plan, Record, Step, Update
from kubelet_bridge.reconcile.planner import plan
from kubelet_bridge.translate import ownership
from kubelet_bridge.translate.annotations import ROOT_DISK_SIZE
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.podstatus import Problem
from tests.support.catalogue import CATALOGUE
from tests.support.pods import CONFIG, container, pod, snapshot

NODE = msgspec.structs.replace(CONFIG, images=ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decide(world: Snapshot) -> Plan:
    return plan(world, NODE, new_id="dpl_1", vm_absent=False, now=NOW)


def promised(of: Pod) -> Snapshot:
    step = decide(snapshot(of)).step
    assert isinstance(step, Record)
    return msgspec.structs.replace(snapshot(of), intent=step.intent)


def step_of(of: Pod, root: RootDisk | None = None) -> Step | None:
    return decide(msgspec.structs.replace(promised(of), root_disk=root)).step


def test_promise_then_disk_then_vm() -> None:
    debian = container(image="debian-12")
    step = step_of(debian)
    assert isinstance(step, MakeRootDisk)
    assert step.boot.reference == "debian-12"
    assert isinstance(step_of(debian, RootDisk(made=True)), Create)
    assert promised(debian).intent is not None


def test_what_the_disk_waits_for_is_what_the_pod_waits_for() -> None:
    waiting = msgspec.structs.replace(
        promised(container(image="debian-12")), root_disk=RootDisk(made=False, words="42%")
    )
    decided = decide(waiting)
    assert decided.step is None
    assert decided.problem == Problem("ContainerCreating", "42%")
    assert decided.requeue_after


def test_what_needs_no_disk_gets_none() -> None:
    assert isinstance(step_of(pod()), Create)
    system = [{"name": "system", "persistentVolumeClaim": {"claimName": "root"}}]
    of_a_claim = pod({"containers": [{"name": "a", "image": "pvc://root"}], "volumes": system})
    assert isinstance(step_of(of_a_claim), Create)


def test_the_disk_is_part_of_the_promise() -> None:
    intent = promised(
        pod({"containers": [{"name": "a", "image": "debian-12"}]}, annotations={ROOT_DISK_SIZE: "8Gi"})
    ).intent
    assert intent is not None
    assert (intent.allocation.disk, intent.boot_image) == (8 * 2**30, "debian-12")


def test_a_size_that_is_too_small_waits_for_somebody_to_change_it() -> None:
    small = pod({"containers": [{"name": "a", "image": "debian-12"}]}, annotations={ROOT_DISK_SIZE: "1Gi"})
    decided = decide(snapshot(small))
    assert decided.step is None
    assert decided.problem is not None
    assert "1Gi is smaller than debian-12" in decided.problem.message


def running(of: Pod, intent: Intent, root: RootDisk | None) -> Snapshot:
    key = snapshot(of).key
    made = ownership.metadata(intent.vm_name, key, NODE.node_name)
    notes = ownership.annotations(key, intent.id, intent.spec_hash)
    head = msgspec.convert({**made, "uid": "vm-1", "annotations": notes}, ObjectMeta)
    return msgspec.structs.replace(
        snapshot(of),
        intent=msgspec.structs.replace(intent, vm_uid="vm-1"), vm=VirtualMachine(metadata=head), root_disk=root,
    )  # fmt: skip


def changed(image: str) -> Pod:
    """The Pod's next generation."""
    other = container(image=image)
    return msgspec.structs.replace(other, metadata=msgspec.structs.replace(other.metadata, generation=2))


def test_another_image_has_another_disk_before_the_vm_is_told() -> None:
    intent = promised(container(image="debian-12")).intent
    assert intent is not None
    other = changed("debian-13")
    step = decide(running(other, intent, None)).step
    assert isinstance(step, MakeRootDisk)
    assert step.boot.reference == "debian-13"
    assert decide(running(other, intent, RootDisk(made=False, words="42%"))).problem is not None
    assert isinstance(decide(running(other, intent, RootDisk(made=True))).step, Update)


def test_another_spelling_is_no_other_image() -> None:
    intent = promised(container(image="debian-12")).intent
    assert intent is not None
    step = decide(running(changed("Debian 12"), intent, None)).step
    assert isinstance(step, Record)
    assert step.reason == "SpecSeen"


def test_no_new_disk_is_made_of_a_catalogue_that_is_broken() -> None:
    assert NODE.images is not None
    broken = msgspec.structs.replace(NODE, images=msgspec.structs.replace(NODE.images, trouble="images[0]: no"))

    def of(image: str) -> Plan:
        world = promised(container(image=image))
        return plan(world, broken, new_id="dpl_1", vm_absent=False, now=NOW)

    stopped = of("debian-12")
    assert stopped.step is None
    assert stopped.problem is not None
    assert stopped.problem.message == "no disk can be made of debian-12 now: images[0]: no"
    assert isinstance(of("https://a.example/x").step, MakeRootDisk)
    assert isinstance(of("containerdisk://a/b").step, Create)
