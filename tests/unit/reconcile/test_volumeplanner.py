"""The decisions of the planner of disks, one by one."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, ReclaimPolicy
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE, ANNOTATIONS_PROVISIONER, FINALIZER, PROVISIONER
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Origin, Part, VolumeInputs, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.actions import (
    Accept,
    Confirm,
    CreateDataVolume,
    CreateVolume,
    DeleteDataVolume,
    DeleteVolume,
    Forget,
    GrowBacking,
    GrowVolume,
    LetGo,
    LookUp,
    MarkVolume,
    PatchClaim,
    Record,
    Reschedule,
    VolumePlan,
)
from kubelet_bridge.reconcile.volumes.planner import GRACE_OF_OTHERS, PATIENCE, plan
from kubelet_bridge.translate.storage import persistentvolume
from tests.support.volumes import KEY, NODE, NOW, backing, claim, datavolume, row, storage_class, volume

INPUTS = VolumeInputs(storage_class=storage_class())
BOUND = {"phase": "Bound", "capacity": {"storage": "20Gi"}}


def decide(
    *, tries: int = 0, absent: set[Part] | None = None, seen: frozenset[Part] = frozenset({Part.VOLUME}), **world: Any
) -> VolumePlan:
    snapshot = VolumeSnapshot(key=KEY, absent=frozenset(absent or ()), seen=seen, **world)
    return plan(snapshot, NODE, new_id="vol_new", tries=tries, now=NOW)


def accepted(**fields: Any) -> VolumeIntent:
    step = decide(claim=claim(), inputs=VolumeInputs(storage_class=storage_class(**fields))).step
    assert isinstance(step, Accept)
    return step.intent


ROW = accepted()
SEEN = row(ROW, datavolume_uid="dv-1", status=VolumeStatus.BOUND, backing_uid="real-1", backing_size=20 << 30)
FULL = row(SEEN, populated=True)
PV = persistentvolume.build(SEEN, NODE)
EARLY = row(SEEN, backing_uid="", backing_size=0)
EARLY_PV = persistentvolume.build(EARLY, NODE)


def bound_claim(size: str = "20Gi", **status: Any) -> PersistentVolumeClaim:
    return claim(size=size, status=BOUND | status, volumeName=ROW.volume)


def settled(**changes: Any) -> dict[str, Any]:
    world = {
        "claim": bound_claim(), "intent": FULL, "datavolume": datavolume(phase="Succeeded"), "volume": volume(PV),
        "backing": backing(),
    }  # fmt: skip
    return world | changes


def recorded(planned: VolumePlan) -> VolumeIntent:
    assert isinstance(planned.step, Record)
    return planned.step.intent


def test_a_claim_is_looked_into_written_down_and_then_served() -> None:
    assert decide(claim=claim()).step == LookUp()
    assert (ROW.id, ROW.datavolume, ROW.volume) == ("vol_new", "data-1a2b3c4d", f"pvc-{KEY.uid}")
    assert decide(claim=claim(), intent=ROW).step == Confirm(Part.DATAVOLUME)
    assert isinstance(decide(claim=claim(), intent=ROW, absent={Part.DATAVOLUME}).step, CreateDataVolume)


def test_the_datavolumes_uid_is_on_the_disk_before_anybody_can_use_it() -> None:
    seen = recorded(decide(claim=claim(), intent=ROW, datavolume=datavolume()))
    assert seen.datavolume_uid == "dv-1"
    assert decide(claim=claim(), intent=seen, datavolume=datavolume()).step == Confirm(Part.VOLUME)
    step = decide(claim=claim(), intent=seen, datavolume=datavolume(), absent={Part.VOLUME}).step
    assert isinstance(step, CreateVolume)


@pytest.mark.parametrize(
    "asking",
    [
        {"annotations": {ANNOTATION_SELECTED_NODE: "another"}},
        {"annotations": {ANNOTATIONS_PROVISIONER[0]: "csi.example.com", ANNOTATION_SELECTED_NODE: "another"}},
        {"volumeName": "chosen-by-name"},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"name": f"prime-{KEY.uid}"}},
    ],
    ids=["another node's", "another provisioner's", "pre-bound", "going", "a populator's"],
)
def test_a_claim_that_does_not_ask_us_is_none_of_ours(asking: dict[str, Any]) -> None:
    assert decide(claim=claim(**asking)) == VolumePlan()


def test_either_spelling_of_the_annotation_asks() -> None:
    old = {ANNOTATIONS_PROVISIONER[0]: "", ANNOTATIONS_PROVISIONER[1]: PROVISIONER}
    assert decide(claim=claim(annotations=old)).step == LookUp()


@pytest.mark.parametrize(
    "foreign",
    [
        {"dataSourceRef": {"kind": "VolumeImportSource", "apiGroup": "cdi.kubevirt.io", "name": "x"}},
        {"dataSource": {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "x"}},
        {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x", "namespace": "elsewhere"}},
        {"metadata": {"ownerReferences": [{"kind": "DataVolume", "name": "x", "uid": "y"}]}},
    ],
    ids=["populator", "snapshot", "other namespace", "a DataVolume's"],
)
def test_what_is_not_ours_to_fill_is_left_alone_with_a_word(foreign: dict[str, Any]) -> None:
    decided = decide(claim=claim(**foreign), inputs=INPUTS)
    assert (decided.step, [note.reason for note in decided.notes]) == (None, ["LeftAlone"])


def test_of_several_bridges_only_the_named_one_serves_claims_that_wait_for_nobody() -> None:
    anywhere, immediate = claim(annotations={ANNOTATION_SELECTED_NODE: ""}), {"volumeBindingMode": "Immediate"}
    inputs = VolumeInputs(storage_class=storage_class(**immediate))
    assert isinstance(decide(claim=anywhere, inputs=inputs).step, Accept)
    others = VolumeInputs(storage_class=storage_class(**immediate, parameters={"node": "another"}))
    assert decide(claim=anywhere, inputs=others) == VolumePlan()
    assert decide(claim=anywhere, inputs=INPUTS) == VolumePlan()
    assert isinstance(decide(claim=claim(), inputs=others).step, Accept)


def test_a_claim_that_cannot_be_served_is_told_and_in_the_end_scheduled_anew() -> None:
    missing = VolumeInputs(storage_class=storage_class(parameters={"backingClass": "absent"}))
    told = decide(claim=claim(), inputs=missing)
    assert told.failing
    assert "'absent'" in told.notes[0].message
    assert decide(claim=claim(), inputs=missing, tries=PATIENCE).step == Reschedule(KEY.uid)


def test_a_row_without_a_disk_is_forgotten_when_the_scheduler_thinks_again() -> None:
    world = {"intent": ROW, "absent": {Part.DATAVOLUME}}
    assert decide(claim=claim(), tries=PATIENCE, **world).step == Reschedule(KEY.uid)
    for selected in ("", "another"):
        moved = claim(annotations={ANNOTATION_SELECTED_NODE: selected})
        assert decide(claim=moved, **world).step == Forget("Rescheduled")


def test_a_strangers_datavolume_is_not_taken() -> None:
    decided = decide(claim=claim(), intent=ROW, datavolume=datavolume("x", pvc_uid="another"))
    assert (decided.step, decided.failing) == (None, True)


def test_a_settled_disk_is_left_alone() -> None:
    assert decide(**settled()).step is None
    assert decide(**settled(intent=row(FULL, status=VolumeStatus.PROVISIONING))).step == Record(FULL, "Bound")


def test_the_claim_behind_is_remembered_when_it_is_seen() -> None:
    early = settled(intent=EARLY, volume=volume(EARLY_PV))
    met = recorded(decide(**early | {"backing": backing(size="22Gi")}))
    assert (met.backing_uid, met.backing_size) == ("real-1", 22 << 30)
    strange = decide(**early | {"backing": backing(owner="somebody")})
    assert strange.step is None


def test_a_disk_deleted_by_somebody_else_is_lost_and_not_made_again() -> None:
    gone = settled(datavolume=None)
    assert decide(**gone).step == Confirm(Part.DATAVOLUME)
    lost = recorded(decide(**gone, absent={Part.DATAVOLUME}))
    assert (lost.status, "deleted by somebody else" in lost.lost) == (VolumeStatus.LOST, True)
    after = decide(**settled(intent=lost, datavolume=None), absent={Part.DATAVOLUME, Part.VOLUME, Part.BACKING})
    assert (after.step, [note.reason for note in after.notes]) == (None, ["VolumeLost"])


def test_a_datavolume_made_anew_by_somebody_else_is_not_the_promised_one() -> None:
    assert recorded(decide(**settled(datavolume=datavolume("dv-2")))).status is VolumeStatus.LOST


def test_the_claim_behind_deleted_by_somebody_else_means_that_the_disk_is_lost() -> None:
    assert decide(**settled(backing=None)).step == Confirm(Part.BACKING)
    assert recorded(decide(**settled(backing=None), absent={Part.BACKING})).status is VolumeStatus.LOST
    assert recorded(decide(**settled(backing=backing("real-2")))).status is VolumeStatus.LOST


def test_a_datavolume_that_vanished_before_anybody_could_use_it_is_made_again() -> None:
    early = row(ROW, datavolume_uid="dv-1")
    world = {"claim": claim(), "intent": early}
    assert decide(**world, absent={Part.DATAVOLUME}).step == Confirm(Part.VOLUME)
    again = recorded(decide(**world, absent={Part.DATAVOLUME, Part.VOLUME}))
    assert (again.datavolume_uid, again.lost) == ("", "")


def test_marks_that_somebody_removed_come_back() -> None:
    stripped = volume(PV, metadata={"labels": {}, "finalizers": ["kubernetes.io/pv-protection"]})
    step = decide(**settled(volume=stripped)).step
    assert isinstance(step, MarkVolume)
    assert step.marks["finalizers"] == ["kubernetes.io/pv-protection", FINALIZER]


def test_growth_goes_from_the_real_claim_to_the_volume_to_the_status() -> None:
    larger, growing = bound_claim("30Gi"), bound_claim("30Gi", allocatedResourceStatuses={"storage": "x"})
    assert isinstance(decide(**settled(claim=larger)).step, PatchClaim)
    growing = bound_claim("30Gi", allocatedResourceStatuses={"storage": "ControllerResizeInProgress"})
    step = decide(**settled(claim=growing)).step
    assert isinstance(step, GrowBacking)
    assert step.size == 30 << 30
    waiting = decide(**settled(claim=growing, backing=backing(size="30Gi")))
    assert (waiting.step, waiting.requeue_after is not None) == (None, True)
    grown = backing(size="30Gi", capacity="30Gi")
    assert decide(**settled(claim=growing, backing=grown)).step == GrowVolume("pv-1", 30 << 30)
    large = volume(PV, capacity={"storage": "30Gi"})
    step = decide(**settled(claim=growing, backing=grown, volume=large)).step
    assert isinstance(step, PatchClaim)
    assert step.patch["status"]["capacity"] == {"storage": "30Gi"}
    done = bound_claim("30Gi", capacity={"storage": "30Gi"})
    assert decide(**settled(claim=done, backing=grown, volume=large)).step is None


def test_the_real_claim_keeps_its_share_of_overhead_when_it_grows() -> None:
    growing = bound_claim("40Gi", allocatedResourceStatuses={"storage": "ControllerResizeInProgress"})
    step = decide(**settled(claim=growing, intent=row(FULL, backing_size=22 << 30), backing=backing(size="22Gi"))).step
    assert isinstance(step, GrowBacking)
    assert step.size == 44 << 30


def test_nothing_grows_while_the_disk_is_still_filled() -> None:
    importing = datavolume(phase="ImportInProgress", progress="42.50%")
    decided = decide(**settled(claim=bound_claim("30Gi"), intent=SEEN, datavolume=importing))
    assert (decided.step, decided.notes[0].message) == (None, "DataVolume data-1a2b3c4d ImportInProgress 25%")


def test_a_real_claim_that_has_no_volume_yet_is_not_asked_to_grow() -> None:
    """CDI says that a disk is filled a moment before its claim is bound, and only then does Kubernetes let it grow."""
    growing = bound_claim("30Gi", allocatedResourceStatuses={"storage": "ControllerResizeInProgress"})
    waiting = decide(**settled(claim=growing, backing=backing(phase="Pending")))
    assert (waiting.step, waiting.requeue_after is not None) == (None, True)


def test_what_the_storage_refuses_is_told_of_the_claim() -> None:
    begun = datavolume(phase="Pending")
    decided = decide(**settled(intent=SEEN, datavolume=begun, backing=backing(phase="Pending")), refusal="full")
    assert [(note.reason, note.message.rpartition(": ")[2]) for note in decided.notes] == [
        ("DataVolumeTrouble", "full")
    ]


def released(intent: VolumeIntent = FULL, **changes: Any) -> dict[str, Any]:
    return settled(claim=None, intent=intent, volume=volume(PV, phase="Released")) | changes


def test_a_disk_is_deleted_step_by_step_and_each_absence_is_confirmed() -> None:
    gone = {Part.CLAIM}
    assert decide(**released()).step == Confirm(Part.CLAIM)
    assert decide(**released(), absent=gone, seen=frozenset()).step == Confirm(Part.VOLUME)
    assert decide(**released(), absent=gone).step == DeleteDataVolume("dv-1")
    going = datavolume(deletionTimestamp="2026-01-01T00:00:00Z")
    assert decide(**released(datavolume=going), absent=gone).requeue_after
    left = released(datavolume=None)
    assert decide(**left, absent=gone).step == Confirm(Part.DATAVOLUME)
    gone |= {Part.DATAVOLUME}
    assert decide(**left, absent=gone).requeue_after
    left |= {"backing": None}
    assert decide(**left, absent=gone).step == Confirm(Part.BACKING)
    gone |= {Part.BACKING}
    assert decide(**left, absent=gone).step == DeleteVolume("pv-1")
    left |= {"volume": volume(PV, phase="Released", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})}
    assert decide(**left, absent=gone).step == LetGo("pv-1", [], "")
    left |= {"volume": None}
    assert decide(**left, absent=gone).step == Confirm(Part.VOLUME)
    assert decide(**left, absent=gone | {Part.VOLUME}).step == Forget("Deleted")


def test_a_disk_in_use_is_not_deleted() -> None:
    decided = decide(**released(users=["web"]), absent={Part.CLAIM})
    assert (decided.step, decided.notes[0].reason) == (None, "VolumeInUse")


def test_a_volume_that_kubernetes_still_calls_bound_is_waited_for() -> None:
    decided = decide(**released(volume=volume(PV)), absent={Part.CLAIM})
    assert (decided.step, decided.requeue_after is not None) == (None, True)


def kept(**head: Any) -> PersistentVolume:
    return volume(PV, phase="Released", metadata=head, persistentVolumeReclaimPolicy="Retain")


def test_a_disk_to_be_kept_is_kept_and_only_its_volume_let_go_when_that_is_deleted() -> None:
    assert recorded(decide(**released(volume=kept()), absent={Part.CLAIM})).status is VolumeStatus.RETAINED
    retained = row(FULL, status=VolumeStatus.RETAINED)
    assert decide(**released(retained, volume=kept()), absent={Part.CLAIM}) == VolumePlan()
    going = kept(deletionTimestamp="2026-01-01T00:00:00Z")
    assert decide(**released(retained, volume=going), absent={Part.CLAIM}).step == LetGo("pv-1", [], "")
    absent = {Part.CLAIM, Part.VOLUME}
    promise = msgspec.structs.replace(retained.promise, reclaim=ReclaimPolicy.RETAIN)
    assert decide(**released(row(retained, promise=promise), volume=None), absent=absent).step == Forget("Retained")


def test_a_disk_kept_by_a_policy_that_was_changed_stays_when_its_volume_has_gone() -> None:
    going = kept(deletionTimestamp="2026-01-01T00:00:00Z")
    retained = recorded(decide(**released(volume=going), absent={Part.CLAIM}))
    assert retained.promise.reclaim is ReclaimPolicy.DELETE
    assert decide(**released(retained, volume=going), absent={Part.CLAIM}).step == LetGo("pv-1", [], "")
    assert decide(**released(retained, volume=None), absent={Part.CLAIM, Part.VOLUME}).step == Forget("Retained")


def test_the_row_follows_the_policy_of_its_volume() -> None:
    changed = volume(PV, persistentVolumeReclaimPolicy="Retain")
    assert recorded(decide(**settled(volume=changed))).promise.reclaim is ReclaimPolicy.RETAIN


def test_a_datavolume_that_somebody_brought_back_is_not_deleted_with_the_claim() -> None:
    lost = row(FULL, status=VolumeStatus.LOST, lost="it was deleted")
    decided = decide(**released(lost, datavolume=datavolume("dv-2"), backing=backing("real-2")), absent={Part.CLAIM})
    assert decided.step == DeleteVolume("pv-1")


def test_a_row_that_was_set_back_makes_no_second_datavolume() -> None:
    early = settled(intent=ROW, datavolume=None)
    assert recorded(decide(**early, absent={Part.DATAVOLUME})).datavolume_uid == "dv-1"
    forgetful = settled(intent=SEEN, volume=volume(persistentvolume.build(SEEN, NODE)), backing=backing("real-2"))
    known = recorded(decide(**forgetful | {"intent": EARLY}))
    assert known.backing_uid == SEEN.backing_uid
    assert recorded(decide(**forgetful | {"intent": known})).status is VolumeStatus.LOST
    early |= {"volume": None}
    assert decide(**early, absent={Part.DATAVOLUME}).step == Confirm(Part.VOLUME)
    decided = decide(**early, absent={Part.DATAVOLUME, Part.VOLUME})
    assert (decided.step, [note.reason for note in decided.notes]) == (None, ["VolumeLost"])


def test_a_volume_that_names_another_datavolume_means_that_the_disk_is_lost() -> None:
    other = settled(intent=row(FULL, datavolume_uid="dv-2"), datavolume=datavolume("dv-2"))
    assert recorded(decide(**other)).status is VolumeStatus.LOST


def test_a_volume_given_to_another_claim_is_not_taken_down_for_the_first() -> None:
    stale = VolumeSnapshot(key=KEY, absent=frozenset({Part.CLAIM}), **released())
    given = volume(PV, claimRef={"namespace": "shop", "name": "restored", "uid": "other"})
    fresh = stale.confirmed(Part.VOLUME, given)
    assert plan(fresh, NODE, new_id="", tries=0, now=NOW).step == Confirm(Part.CLAIM)


def test_a_policy_changed_later_counts() -> None:
    retained = row(FULL, status=VolumeStatus.RETAINED)
    assert decide(**released(retained), absent={Part.CLAIM}).step == DeleteDataVolume("dv-1")


def test_a_claim_deleted_before_its_volume_was_made_leaves_nothing() -> None:
    early = row(ROW, datavolume_uid="dv-1")
    absent = {Part.CLAIM, Part.VOLUME}
    assert decide(intent=early, datavolume=datavolume(), absent=absent).step == DeleteDataVolume("dv-1")
    absent |= {Part.DATAVOLUME, Part.BACKING}
    assert decide(intent=early, absent=absent).step == Forget("Deleted")


def test_a_strangers_datavolume_is_not_deleted_with_the_disk() -> None:
    early = row(ROW)
    absent = {Part.CLAIM, Part.VOLUME, Part.BACKING}
    strange = datavolume("x", pvc_uid="another")
    assert decide(intent=early, datavolume=strange, absent=absent).step == Forget("Deleted")


def test_a_claim_that_an_administrator_bound_meanwhile_gets_no_second_disk() -> None:
    elsewhere = claim(volumeName="chosen")
    assert decide(claim=elsewhere, intent=ROW, absent={Part.DATAVOLUME}).step == Forget("BoundElsewhere")
    seen = row(ROW, datavolume_uid="dv-1")
    world = {"claim": elsewhere, "intent": seen, "datavolume": datavolume()}
    assert decide(**world, absent={Part.VOLUME}).step == DeleteDataVolume("dv-1")


def test_a_claim_that_waits_for_our_node_in_vain_is_shown_the_way_out() -> None:
    direct = claim(
        annotations={ANNOTATIONS_PROVISIONER[0]: "csi.example.com"}, storageClassName="real",
        metadata={"creationTimestamp": NOW.isoformat()},
    )  # fmt: skip
    snapshot = VolumeSnapshot(key=KEY, claim=direct)
    early = plan(snapshot, NODE, new_id="", tries=0, now=NOW + timedelta(seconds=1))
    assert (early.notes, early.requeue_after) == ([], GRACE_OF_OTHERS - 1)
    late = plan(snapshot, NODE, new_id="", tries=0, now=NOW + timedelta(seconds=GRACE_OF_OTHERS))
    assert [note.reason for note in late.notes] == ["UnsupportedBindingMode"]
    assert "backingClass: real" in late.notes[0].message


def test_a_datavolume_that_cdi_leaves_alone_is_told_of_after_a_while() -> None:
    def waiting(seconds: float, **fields: Any) -> VolumePlan:
        made = datavolume(creationTimestamp=NOW - timedelta(seconds=seconds), **fields)
        return decide(claim=bound_claim(), intent=EARLY, datavolume=made, volume=volume(EARLY_PV))

    assert waiting(3) == VolumePlan(requeue_after=7.0)
    (note,) = waiting(10).notes
    assert (note.reason, note.message) == (
        "DataVolumeTrouble", "DataVolume data-1a2b3c4d not taken up by CDI yet: is its controller running?"
    )  # fmt: skip
    assert waiting(99, phase="Pending") == VolumePlan()
    refused = {"type": "Bound", "status": "Unknown", "reason": "ErrClaimNotValid", "message": "no accessMode"}
    (note,) = waiting(1, conditions=[refused]).notes
    assert note.message == "DataVolume data-1a2b3c4d: no accessMode"


def test_a_claim_behind_that_was_made_anew_is_no_disk_to_who_has_lost_the_database_either() -> None:
    known = decide(**settled(volume=volume(PV), intent=row(FULL, backing_size=0)))
    assert recorded(known).backing_size == 20 << 30
    lost = recorded(decide(**settled(intent=row(FULL, backing_size=0), backing=backing("real-2"))))
    assert lost.status is VolumeStatus.LOST


def test_which_claim_is_behind_the_disk_is_noted_on_its_volume() -> None:
    made = persistentvolume.build(row(SEEN, backing_uid=""), NODE)
    step = decide(**settled(volume=volume(made))).step
    assert step == MarkVolume("pv-1", {"annotations": {"kubelet-bridge.io/backing-uid": "real-1"}})


def test_a_download_whose_checksum_cdi_does_not_know_of_is_handed_to_nobody() -> None:
    annotations = {"kubelet-bridge.io/source": "https://a.test/a.img", "kubelet-bridge.io/source-checksum": "sha256:aa"}
    asking = claim(annotations=annotations)
    step = decide(claim=asking, inputs=INPUTS).step
    assert isinstance(step, Accept)
    pruned, kept = (
        msgspec.convert({"metadata": {"name": "x", "uid": "dv-1", "labels": {"kubelet-bridge.io/pvc-uid": KEY.uid}},
                         "spec": {"source": {"http": http}}}, DataVolume)
        for http in ({"url": "x"}, {"url": "x", "checksum": "sha256:aa"})
    )  # fmt: skip
    told = decide(claim=asking, intent=step.intent, datavolume=pruned)
    assert (told.failing, "is not looked at" in told.notes[0].message) == (True, True)
    assert recorded(decide(claim=asking, intent=step.intent, datavolume=kept)).datavolume_uid == "dv-1"


@pytest.mark.parametrize(
    ("real", "handle", "trouble"),
    [
        ("real-1", "shop/one-12345678", ""), (None, "shop/one-12345678", ""),
        ("real-2", "shop/one-12345678", "lost its disk"), ("real-1", "office/one-12345678", "in namespace office"),
    ],
)  # fmt: skip
def test_what_is_no_longer_there_is_not_cloned(real: str | None, handle: str, trouble: str) -> None:
    csi = {"driver": PROVISIONER, "volumeHandle": handle}
    given = {"metadata": {"annotations": {"kubelet-bridge.io/backing-uid": "real-1"}}, "spec": {"csi": csi}}
    origin = Origin(claim(metadata={"uid": "one"}), msgspec.convert(given, PersistentVolume),
                    backing(real) if real else None)  # fmt: skip
    asking = claim(dataSource={"kind": "PersistentVolumeClaim", "name": "one"})
    decided = decide(claim=asking, inputs=VolumeInputs(storage_class=storage_class(), origin=origin))
    assert (isinstance(decided.step, Accept), trouble in "".join(one.message for one in decided.notes)) == (
        not trouble, True
    )  # fmt: skip


@pytest.mark.parametrize("size", ["8Ei", "1e30", "0"])
def test_a_size_that_no_disk_has_is_refused_with_words(size: str) -> None:
    decided = decide(claim=claim(size=size), inputs=INPUTS)
    assert (decided.step, decided.failing, decided.notes[0].reason) == (None, True, "ProvisioningFailed")
