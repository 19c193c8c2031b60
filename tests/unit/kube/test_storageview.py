"""The disks' view of the cluster: whose an object is, what an absence is, and what a write may touch."""

from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import Conflict, Forbidden, NotFound, Transient
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.informer import Informer
from kubelet_bridge.kube.storageview import StorageView
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.catalogue import RegistrySource
from kubelet_bridge.model.meta import machine_key
from kubelet_bridge.model.resources import Resource
from kubelet_bridge.model.storagenames import (
    ANNOTATION_PVC_NAME,
    ANNOTATION_SELECTED_NODE,
    ANNOTATIONS_PROVISIONER,
    LABEL_PVC_UID,
    PROVISIONER,
)
from kubelet_bridge.model.volumeintent import Promise, VolumeIntent, VolumeKey
from kubelet_bridge.model.volumesnapshot import Part, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.ports import NO_CDI
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.ownership import labels
from tests.support.catalogue import CATALOGUE
from tests.support.pods import pod, snapshot
from tests.support.volumes import NOW

KEY = VolumeKey("shop", "data", "u1")
POD = snapshot(pod()).key
ROW = VolumeIntent(
    uid="u1", id="vol_1", namespace="shop", name="data", datavolume="data-u1", accepted_at=NOW,
    promise=Promise(size="1Gi", access_modes=[], volume_mode="", storage_class="", reclaim="Delete"),  # type: ignore[arg-type]
)  # fmt: skip
MARKS = {"labels": {LABEL_PVC_UID: "u1"}, "annotations": {ANNOTATION_PVC_NAME: "data"}}

Json = dict[str, Any]


class Server:
    """Answers with what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Json | Exception = {}
        self.asked: list[tuple[str, str, Any]] = []

    def _answer(self, method: str, path: str, body: Any = None) -> bytes:
        self.asked.append((method, path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return msgspec.json.encode(self.answer)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        return self._answer("GET", resource.path(namespace, name))

    async def request(self, method: str, path: str, *, body: bytes, **_: Any) -> bytes:
        return self._answer(method, path, msgspec.json.decode(body))

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Json, *, kind: PatchType,
        subresource: str | None = None,
    ) -> bytes:  # fmt: skip
        return self._answer("PATCH", resource.path(namespace, name, subresource), body)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> bytes:
        return self._answer("DELETE", resource.path(namespace, name), uid)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def view(server: Server) -> StorageView:
    return StorageView(cast("Client", server), "vnode", lambda _namespace, _claim: ["web"])


def put(informer: Informer, name: str, uid: str, *, namespace: str = "shop", **fields: Any) -> Json:
    metadata = {"name": name, "uid": uid, "resourceVersion": "5", **fields.pop("metadata", {})}
    made = {"metadata": metadata | ({"namespace": namespace} if namespace else {}), **fields}
    cached = informer.learn(msgspec.json.encode(made))
    for handler in informer._handlers:  # as the watch will
        handler(EventKind.ADDED, cached)
    return made


def put_refusal(view: StorageView, name: str, claim: str, uid: str, message: str, *, second: int = 0) -> None:
    about = {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": claim, "uid": uid}
    at = f"2026-01-02T03:04:{second:02}Z"
    put(view.refusals.informer, name, name, involvedObject=about, message=message, lastTimestamp=at)


def put_volume(view: StorageView, claim: Json, **metadata: Any) -> Json:
    spec = {"csi": {"driver": PROVISIONER, "volumeHandle": "shop/data-u1"}, "claimRef": claim}
    return put(view.volumes, "pvc-u1", "pv-1", namespace="", metadata=MARKS | metadata, spec=spec)


async def test_every_change_about_a_disk_has_the_same_key(view: StorageView) -> None:
    keys: list[VolumeKey] = []
    view.subscribe(keys.append)
    put(view.datavolumes, "data-u1", "dv-1", metadata=MARKS)
    put(view.claims, "data-u1", "real-1")
    put_volume(view, {"namespace": "shop", "name": "data", "uid": "u1"})
    put(view.claims, "data", "u1", spec={"volumeName": "pvc-u1"})
    put(view.claims, "given-to-later", "u2", spec={"volumeName": "pvc-u1"})
    put(view.claims, "none-of-ours", "u3")
    assert keys == [KEY] * 5


async def test_a_refusal_is_about_the_disk_that_is_filled(view: StorageView) -> None:
    put(view.datavolumes, "data-u1", "dv-1", metadata=MARKS)
    put(view.claims, "data-u1", "real-1")
    put(view.claims, "prime-real-1", "prime")
    keys, owners = list[VolumeKey](), list[str]()
    view.subscribe(keys.append)
    view.refusals.subscribe(lambda claim: owners.append(claim.head.name))
    put_refusal(view, "e1", "prime-real-1", "prime", "full")
    put_refusal(view, "e2", "of-somebody-else", "u9", "broken")
    assert (keys, owners) == ([KEY], ["data-u1"])
    assert view.load(KEY, ROW).refusal == "full"


async def test_the_newest_refusal_is_told_until_there_is_a_volume(view: StorageView) -> None:
    for name, uid in (("data-u1", "real-1"), ("prime-real-1", "prime"), ("tmp-pvc-real-1", "tmp")):
        put(view.claims, name, uid)
    put_refusal(view, "e1", "prime-real-1", "prime", "older", second=1)
    put_refusal(view, "e3", "tmp-pvc-real-1", "tmp", "newest", second=3)
    put_refusal(view, "e2", "prime-real-1", "prime", "newer", second=2)
    put_refusal(view, "e4", "data-u1", "real-1", "[prime-real-1] : copied by CDI", second=4)
    put_refusal(view, "e5", "prime-real-1", "an-earlier-one", "of a claim of that name", second=5)
    assert view.load(KEY, ROW).refusal == "newest"
    put(view.claims, "tmp-pvc-real-1", "tmp", status={"phase": "Bound"})
    assert view.load(KEY, ROW).refusal == "newer"
    view.claims.unlearn("shop", "prime-real-1", uid="prime")
    assert not view.load(KEY, ROW).refusal


async def test_claims_that_ask_are_found(view: StorageView) -> None:
    for number, name in enumerate(ANNOTATIONS_PROVISIONER):
        put(view.claims, f"data-{number}", f"u{number}", metadata={"annotations": {name: PROVISIONER}})
    put(view.claims, "other", "u9", metadata={"annotations": {ANNOTATIONS_PROVISIONER[0]: "csi.example.com"}})
    put(view.claims, "direct", "u8", metadata={"annotations": {ANNOTATION_SELECTED_NODE: "vnode"}})
    assert sorted(key.name for key in list(view.keys())) == ["data-0", "data-1", "direct"]


async def test_a_successor_of_the_same_name_is_not_the_claim(view: StorageView) -> None:
    put(view.claims, "data", "u2")
    snapshot = view.load(KEY, ROW)
    assert (snapshot.claim, snapshot.users) == (None, ["web"])


async def test_a_claim_behind_that_was_made_anew_is_known_before_the_loop_has_written_it_down(
    view: StorageView,
) -> None:
    filled = msgspec.structs.replace(ROW, backing_uid="real-1")
    assert (view.replaced(filled), view.replaced(ROW)) == ("", "")
    put(view.claims, "data-u1", "real-1")
    assert (view.replaced(filled), view.replaced(ROW)) == ("", "")
    view.claims.unlearn("shop", "data-u1", uid="real-1")
    put(view.claims, "data-u1", "real-2")
    assert "made anew empty" in view.replaced(filled)
    assert view.replaced(ROW) == ""


async def test_a_volume_says_which_claim_it_serves_now(view: StorageView) -> None:
    put(view.claims, "later", "u2")
    put_volume(view, {"namespace": "shop", "name": "later", "uid": "u2"})
    found = view.load(KEY, ROW)
    assert found.claim is not None
    assert found.claim.metadata.name == "later"
    assert found.subject == VolumeKey("shop", "later", "u2"), "whom events are for"


async def test_a_disk_that_serves_no_claim_tells_the_one_it_was_made_for(view: StorageView) -> None:
    assert view.load(KEY, ROW).subject == KEY


async def test_only_a_404_about_the_object_is_an_absence(view: StorageView, server: Server) -> None:
    snapshot = VolumeSnapshot(key=KEY, intent=ROW)
    server.answer = NotFound(404, "NotFound", 'datavolumes.cdi.kubevirt.io "data-u1" not found')
    assert (await view.confirm(snapshot, Part.DATAVOLUME)).absent == {Part.DATAVOLUME}
    server.answer = NotFound(404, "", "HTTP 404")
    with pytest.raises(Transient) as raised:
        await view.confirm(snapshot, Part.DATAVOLUME)
    assert raised.value.reason == NO_CDI
    server.answer = Forbidden(403, "Forbidden", "no")
    with pytest.raises(Forbidden):
        await view.confirm(snapshot, Part.VOLUME)


async def test_a_claim_of_another_uid_is_an_absence_too(view: StorageView, server: Server) -> None:
    server.answer = {"metadata": {"name": "data", "uid": "u2"}}
    assert (await view.confirm(VolumeSnapshot(key=KEY), Part.CLAIM)).absent == {Part.CLAIM}


async def test_what_is_deleted_at_once_is_not_seen_any_more(view: StorageView, server: Server) -> None:
    put(view.datavolumes, "data-u1", "dv-1", metadata=MARKS)
    server.answer = {"kind": "Status", "status": "Success"}
    await view.delete_datavolume("shop", "data-u1", uid="dv-1")
    assert server.asked[-1][2] == "dv-1"
    assert view.load(KEY, ROW).datavolume is None


async def test_finalizers_are_changed_as_they_are_known(view: StorageView, server: Server) -> None:
    made = put_volume(view, {}, finalizers=["kubelet-bridge.io/datavolume"], deletionTimestamp="2026-01-01T00:00:00Z")
    made["metadata"] |= {"finalizers": [], "resourceVersion": "6"}
    server.answer = made
    await view.mark_volume("pvc-u1", {"finalizers": [], "resourceVersion": "5"}, uid="pv-1")
    assert server.asked[-1][2] == {"metadata": {"finalizers": [], "resourceVersion": "5", "uid": "pv-1"}}
    assert view.load(KEY, ROW).volume is None


async def test_a_write_to_another_incarnation_is_no_error(view: StorageView, server: Server) -> None:
    server.answer = Conflict(409, "Conflict", "the UID in the precondition is another")
    await view.delete_volume("pvc-u1", uid="pv-1")
    await view.grow_volume("pvc-u1", 1 << 30, uid="pv-1")
    assert [method for method, _, _ in server.asked] == ["DELETE", "PATCH"]


async def test_a_pod_is_told_how_far_its_disks_are(view: StorageView) -> None:
    asking = pod({"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}]})
    put(view.claims, "data", "u1", spec={"volumeName": "pvc-u1"})
    assert view.unfilled(asking, POD) == []
    put_volume(view, {"namespace": "shop", "name": "data", "uid": "u1"})
    importing = {"phase": "ImportInProgress", "progress": "42.50%"}
    put(view.datavolumes, "data-u1", "dv-1", metadata=MARKS, status=importing)
    assert view.unfilled(asking, POD) == ["DataVolume data-u1 ImportInProgress 42.50%"]
    put(view.datavolumes, "data-u1", "dv-1", metadata=MARKS | {"resourceVersion": "6"}, status={"phase": "Succeeded"})
    assert view.unfilled(asking, POD) == []


async def test_a_pod_is_told_how_far_the_disks_are_that_its_vm_boots_from(view: StorageView) -> None:
    keys: list[VolumeKey] = []
    view.subscribe(keys.append)
    cloning = {"phase": "CloneInProgress", "progress": "7.00%"}
    for name, key, namespace in (
        ("own", POD, POD.namespace),
        ("of-a-machine", machine_key(POD, "b"), POD.namespace),
        ("of-another-pod", msgspec.structs.replace(POD, uid="other"), POD.namespace),
        ("of-a-stranger", POD, "elsewhere"),
    ):
        put(view.datavolumes, name, name, namespace=namespace, metadata={"labels": labels(key, "n")}, status=cloning)
    assert view.unfilled(pod(), POD) == ["DataVolume own CloneInProgress 7.00%"]
    assert view.unfilled(pod(), machine_key(POD, "b")) == ["DataVolume of-a-machine CloneInProgress 7.00%"]
    put(
        view.datavolumes,
        "own",
        "own",
        metadata={"labels": labels(POD, "n"), "resourceVersion": "6"},
        status={"phase": "Succeeded"},
    )
    assert view.unfilled(pod(), POD) == []
    assert keys == []  # no claim of anybody's asked for them


async def test_a_golden_image_is_no_claims_disk(view: StorageView) -> None:
    keys: list[VolumeKey] = []
    view.subscribe(keys.append)
    source = RegistrySource("docker://a.example/debian")
    disks = ImageDisks(catalogue=CATALOGUE, namespace="shop")
    image = golden.build(CATALOGUE.images["debian-12"], source, disks)["metadata"]
    put(view.datavolumes, image["name"], "dv-2", metadata=image)
    put(view.claims, image["name"], "u2")
    assert keys == []
    assert list(view.keys()) == []
