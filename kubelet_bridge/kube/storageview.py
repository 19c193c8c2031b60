"""The cluster as the disks' corridor sees it: claims, volumes and DataVolumes, cached; and the writes to them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from kubelet_bridge.errors import Conflict, NotFound, Transient
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.known import patch_known
from kubelet_bridge.kube.refusals import CLAIM_UID, Refusals
from kubelet_bridge.kube.uids import by_pod_uid, by_uid
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, ObjectHead, PodKey
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.resources import (
    DATAVOLUMES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    Resource,
)
from kubelet_bridge.model.storage import (
    ClaimReference,
    DataVolume,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from kubelet_bridge.model.storagenames import (
    ANNOTATION_PVC_NAME,
    ANNOTATION_SELECTED_NODE,
    ANNOTATIONS_PROVISIONER,
    LABEL_PVC_UID,
    PROVISIONER,
    datavolume_of,
    volume_name,
)
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey
from kubelet_bridge.model.volumesnapshot import Origin, Part, VolumeInputs, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.ports import NO_CDI
from kubelet_bridge.translate.claims import claim_names
from kubelet_bridge.translate.ownership import belongs
from kubelet_bridge.translate.storage import progress
from kubelet_bridge.translate.storage.loss import replaced
from kubelet_bridge.translate.storage.promise import behind
from kubelet_bridge.translate.storage.trigger import clone_source

Json = dict[str, Any]
Kind = TypeVar("Kind", PersistentVolumeClaim, PersistentVolume, DataVolume, StorageClass)

_CLAIM = msgspec.json.Decoder(PersistentVolumeClaim)
_VOLUME = msgspec.json.Decoder(PersistentVolume)
_DATAVOLUME = msgspec.json.Decoder(DataVolume)
_POD_UID = "pod-uid"


class _Answer(msgspec.Struct, frozen=True):
    kind: str = ""


class StorageView:
    """Four informers and the requests around them. Satisfies ``reconcile.volumes.ports.StoragePort``.

    Claims are all of the cluster's: nothing by which a server could select them tells ours from others. ``users`` gives
    the names of the VMs that have a claim, by namespace and name.
    """

    def __init__(self, client: Client, node_name: str, users: Callable[[str, str], list[str]]) -> None:
        self._client = client
        self._node = node_name
        self._users = users
        ours = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
        self.claims = Informer(client, PERSISTENTVOLUMECLAIMS, indexers={CLAIM_UID: by_uid})
        self.volumes = Informer(client, PERSISTENTVOLUMES, label_selector=ours)
        self.datavolumes = Informer(client, DATAVOLUMES, label_selector=ours, indexers={_POD_UID: by_pod_uid})
        self.refusals = Refusals(client, self.claims)

    @property
    def informers(self) -> list[Informer]:
        """Every informer, to be run."""
        return [self.claims, self.volumes, self.datavolumes, self.refusals.informer]

    async def wait_synced(self) -> None:
        """Return once claims and volumes have had their first list.

        DataVolumes are not waited for: without CDI there are none, and claims have to be told so. Nor are refusals.
        """
        await asyncio.gather(self.claims.wait_synced(), self.volumes.wait_synced())

    def subscribe(self, enqueue: Callable[[VolumeKey], None]) -> None:
        """Call ``enqueue`` with the key of each disk that a change is about."""

        def told(key_of: Callable[[Cached], VolumeKey | None]) -> Callable[[EventKind, Cached], None]:
            def changed(_: EventKind, cached: Cached) -> None:
                if (key := key_of(cached)) is not None:
                    enqueue(key)

            return changed

        self.claims.subscribe(told(self._key_of_claim))
        self.volumes.subscribe(told(_key_of_volume))
        self.datavolumes.subscribe(told(_key_by_marks))
        refused = told(self._key_of_claim)
        self.refusals.subscribe(lambda claim: refused(EventKind.MODIFIED, claim))

    def _asks(self, head: ObjectHead) -> bool:
        """Whether a claim is for us to look at: it names us, or another provisioner and our node."""
        notes = head.metadata.annotations
        named = any(notes.get(name) == PROVISIONER for name in ANNOTATIONS_PROVISIONER)
        return named or notes.get(ANNOTATION_SELECTED_NODE) == self._node

    def _key_of_claim(self, cached: Cached) -> VolumeKey | None:
        """Of the disk that a claim asks for, has, or is behind."""
        claim = _CLAIM.decode(cached.raw)
        if (volume := self.volumes.get(None, claim.spec.volume_name)) is not None:
            return _key_of_volume(volume)
        if self._asks(cached.head):
            return VolumeKey(cached.head.namespace, cached.head.name, cached.head.uid)
        behind = self.datavolumes.get(cached.head.namespace, cached.head.name)
        return _key_by_marks(behind) if behind is not None else None

    def keys(self) -> Iterable[VolumeKey]:
        """See ``StoragePort.keys``."""
        heads = (one.head for one in self.claims.all())
        return [VolumeKey(head.namespace, head.name, head.uid) for head in heads if self._asks(head)]

    def load(self, key: VolumeKey, intent: VolumeIntent | None) -> VolumeSnapshot:
        """See ``StoragePort.load``."""
        cached = self.volumes.get(None, volume_name(key.uid))
        volume = _VOLUME.decode(cached.raw) if cached is not None else None
        reference = _claim_of(key, volume)
        claim = self._claim(reference.namespace, reference.name)
        snapshot = VolumeSnapshot(
            key=key, intent=intent, volume=volume, claim=claim if _is_it(claim, reference) else None
        )
        if intent is None:
            return snapshot
        datavolume = self.datavolumes.get(intent.namespace, intent.datavolume)
        backing = self._claim(intent.namespace, intent.datavolume)
        return msgspec.structs.replace(
            snapshot,
            datavolume=_DATAVOLUME.decode(datavolume.raw) if datavolume is not None else None,
            backing=backing,
            refusal=self.refusals.of(backing) if backing is not None else "",
            users=self._users(intent.namespace, intent.datavolume) if snapshot.claim is None else [],
        )

    def unfilled(self, pod: Pod, key: PodKey) -> list[str]:
        """In words, how far those disks of the Pod (of the machine ``key``) are that are not filled yet."""
        behind = (self._disk(key.namespace, claim) for claim in claim_names(pod).values())
        found = [*self._roots(key), *(one for one in behind if one is not None)]
        return [progress.words(one, self._refusal(one)) for one in found if not one.populated]

    def _refusal(self, datavolume: DataVolume) -> str:
        metadata = datavolume.metadata
        claim = self._claim(metadata.namespace, metadata.name)
        return self.refusals.of(claim) if claim is not None else ""

    def _roots(self, key: PodKey) -> list[DataVolume]:
        """What was made for its VM to boot from. It has no claim of the Pod's, and no row: the Pod owns it."""
        heads = self.datavolumes.by_index(_POD_UID, key.owner.uid)
        mine = (one for one in heads if one.head.namespace == key.namespace and belongs(one.head.labels, key))
        return [_DATAVOLUME.decode(one.raw) for one in mine]

    def disks_of(self, pod: Pod) -> list[str]:
        """The uids by which the rows of the Pod's disks are known."""
        claims = (self._claim(pod.metadata.namespace, name) for name in claim_names(pod).values())
        volumes = (self.volumes.get(None, claim.spec.volume_name) for claim in claims if claim is not None)
        return [one.head.labels.get(LABEL_PVC_UID, "") for one in volumes if one is not None]

    def replaced(self, intent: VolumeIntent) -> str:
        """In words, that there is another claim behind a disk than the one that was filled; empty: there is not.

        The disks' loop writes that down in its own time; until then no Pod may begin on the other one.
        """
        behind = self.claims.get(intent.namespace, intent.datavolume)
        if behind is None or behind.head.uid == (intent.backing_uid or behind.head.uid):
            return ""
        return replaced(intent)

    def _disk(self, namespace: str, name: str) -> DataVolume | None:
        """The DataVolume behind a claim of ours, by the cache."""
        claim = self._claim(namespace, name)
        volume = self.volumes.get(None, claim.spec.volume_name) if claim is not None else None
        csi = _VOLUME.decode(volume.raw).spec.csi if volume is not None else None
        if csi is None:
            return None
        cached = self.datavolumes.get(namespace, datavolume_of(csi.volume_handle))
        return _DATAVOLUME.decode(cached.raw) if cached is not None else None

    def _claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        cached = self.claims.get(namespace, name)
        return _CLAIM.decode(cached.raw) if cached is not None else None

    async def inputs(self, claim: PersistentVolumeClaim) -> VolumeInputs:
        """See ``StoragePort.inputs``."""
        own = await self._get(StorageClass, STORAGECLASSES, None, claim.spec.storage_class_name or "")
        backing = own.parameters.get("backingClass", "") if own is not None else ""
        return VolumeInputs(
            storage_class=own,
            backing=await self._get(StorageClass, STORAGECLASSES, None, backing),
            origin=await self._origin(claim.metadata.namespace, name) if (name := clone_source(claim)) else None,
        )

    async def _origin(self, namespace: str, name: str) -> Origin:
        claim = await self._get(PersistentVolumeClaim, PERSISTENTVOLUMECLAIMS, namespace, name)
        bound = claim.spec.volume_name if claim is not None else ""
        volume = await self._get(PersistentVolume, PERSISTENTVOLUMES, None, bound)
        made = behind(volume) if volume is not None else ""
        real = await self._get(PersistentVolumeClaim, PERSISTENTVOLUMECLAIMS, namespace, made)
        return Origin(claim, volume, real)

    async def confirm(self, snapshot: VolumeSnapshot, part: Part) -> VolumeSnapshot:
        """See ``StoragePort.confirm``."""
        return snapshot.confirmed(part, await self._look_for(snapshot, part))

    async def _look_for(
        self, snapshot: VolumeSnapshot, part: Part
    ) -> PersistentVolumeClaim | PersistentVolume | DataVolume | None:
        key, intent = snapshot.key, snapshot.intent
        match part:
            case Part.VOLUME:
                return await self._get(PersistentVolume, PERSISTENTVOLUMES, None, volume_name(key.uid))
            case Part.CLAIM:
                reference = _claim_of(key, snapshot.volume)
                claim = await self._get(
                    PersistentVolumeClaim, PERSISTENTVOLUMECLAIMS, reference.namespace, reference.name
                )
                return claim if _is_it(claim, reference) else None
            case Part.DATAVOLUME | Part.BACKING:
                if intent is None:
                    return None
                where = (intent.namespace, intent.datavolume)
                if part is Part.DATAVOLUME:
                    return await self._get(DataVolume, DATAVOLUMES, *where)
                return await self._get(PersistentVolumeClaim, PERSISTENTVOLUMECLAIMS, *where)

    async def _get(self, kind: type[Kind], resource: Resource, namespace: str | None, name: str) -> Kind | None:
        if not name:
            return None
        try:
            return msgspec.json.decode(await self._client.get(resource, namespace, name), type=kind)
        except NotFound as error:
            if error.reason != "NotFound":  # the server does not know the kind: that says nothing of the object
                raise _no_kind(resource) from error
            return None

    async def create_datavolume(self, namespace: str, manifest: Json) -> DataVolume:
        """See ``StoragePort.create_datavolume``."""
        return _DATAVOLUME.decode((await self._create(self.datavolumes, namespace, manifest)).raw)

    async def create_volume(self, manifest: Json) -> PersistentVolume:
        """See ``StoragePort.create_volume``."""
        return _VOLUME.decode((await self._create(self.volumes, None, manifest)).raw)

    async def _create(self, informer: Informer, namespace: str | None, manifest: Json) -> Cached:
        resource = informer.resource
        try:
            raw = await self._client.request(
                "POST", resource.path(namespace), body=msgspec.json.encode(manifest),
                params={"fieldManager": FIELD_MANAGER}, label=("create", resource.plural),
            )  # fmt: skip
        except NotFound as error:
            if error.reason == "NotFound":  # the namespace
                raise
            raise _no_kind(resource) from error
        return informer.learn(raw)

    async def mark_volume(self, name: str, marks: Json, *, uid: str) -> None:
        """See ``StoragePort.mark_volume``."""
        raw = await patch_known(self._client, PERSISTENTVOLUMES, None, name, {"metadata": {**marks, "uid": uid}})
        self._learn_remains(self.volumes, raw)

    async def grow_volume(self, name: str, size: int, *, uid: str) -> None:
        """See ``StoragePort.grow_volume``."""
        capacity = {"storage": Quantity.of_bytes(size).canonical()}
        body = {"metadata": {"uid": uid}, "spec": {"capacity": capacity}}
        self._learn_remains(self.volumes, await patch_known(self._client, PERSISTENTVOLUMES, None, name, body))

    async def grow_claim(self, namespace: str, name: str, size: int, *, uid: str) -> None:
        """See ``StoragePort.grow_claim``."""
        requests = {"storage": Quantity.of_bytes(size).canonical()}
        body = {"metadata": {"uid": uid}, "spec": {"resources": {"requests": requests}}}
        self._learn_remains(self.claims, await patch_known(self._client, PERSISTENTVOLUMECLAIMS, namespace, name, body))

    async def patch_claim_status(self, claim: PersistentVolumeClaim, patch: Json) -> None:
        """See ``StoragePort.patch_claim_status``."""
        metadata = claim.metadata
        raw = await patch_known(self._client,
            PERSISTENTVOLUMECLAIMS, metadata.namespace, metadata.name, patch, kind=PatchType.STRATEGIC,
            subresource="status",
        )  # fmt: skip
        self._learn_remains(self.claims, raw)

    async def unselect_node(self, claim: PersistentVolumeClaim) -> None:
        """See ``StoragePort.unselect_node``. The scheduler may write there too: the claim must be as we know it."""
        metadata = claim.metadata
        known = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        body = {"metadata": {**known, "annotations": {ANNOTATION_SELECTED_NODE: None}}}
        raw = await patch_known(self._client, PERSISTENTVOLUMECLAIMS, metadata.namespace, metadata.name, body)
        self._learn_remains(self.claims, raw)

    async def delete_datavolume(self, namespace: str, name: str, *, uid: str) -> None:
        """See ``StoragePort.delete_datavolume``."""
        await self._delete(self.datavolumes, namespace, name, uid)

    async def delete_volume(self, name: str, *, uid: str) -> None:
        """See ``StoragePort.delete_volume``."""
        await self._delete(self.volumes, None, name, uid)

    async def _delete(self, informer: Informer, namespace: str | None, name: str, uid: str) -> None:
        try:
            raw = await self._client.delete(informer.resource, namespace, name, uid=uid)
        except (NotFound, Conflict):
            return
        if msgspec.json.decode(raw, type=_Answer).kind == "Status":
            informer.unlearn(namespace or "", name, uid=uid)
        else:
            self._learn_remains(informer, raw)

    def _learn_remains(self, informer: Informer, raw: bytes | None) -> None:
        """Take in the answer to a write; one without finalizers that was being deleted is gone with it."""
        if raw is None:
            return
        head = informer.learn(raw).head
        if head.metadata.deletion_timestamp is not None and not head.metadata.finalizers:
            informer.unlearn(head.namespace, head.name, uid=head.uid)


def _no_kind(resource: Resource) -> Transient:
    return Transient(f"the cluster has no {resource.plural}: is CDI installed?", reason=NO_CDI)


def _claim_of(key: VolumeKey, volume: PersistentVolume | None) -> ClaimReference:
    """The claim that a disk serves: that of its key, or the one that its PersistentVolume has been given to since."""
    reference = volume.spec.claim_ref if volume is not None else None
    return reference or ClaimReference(key.namespace, key.name, key.uid)


def _is_it(claim: PersistentVolumeClaim | None, reference: ClaimReference) -> bool:
    return claim is not None and claim.metadata.uid == (reference.uid or claim.metadata.uid)


def _key_by_marks(cached: Cached) -> VolumeKey | None:
    """By the labels and annotations that a DataVolume of ours carries."""
    head = cached.head
    uid = head.labels.get(LABEL_PVC_UID, "")
    name = head.metadata.annotations.get(ANNOTATION_PVC_NAME, "")
    return VolumeKey(head.namespace, name, uid) if uid and name else None


def _key_of_volume(cached: Cached) -> VolumeKey | None:
    """By those of a PersistentVolume, which has no namespace of its own; its DataVolume has that of the claim."""
    csi = _VOLUME.decode(cached.raw).spec.csi
    key = _key_by_marks(cached)
    if csi is None or key is None:
        return None
    return msgspec.structs.replace(key, namespace=csi.volume_handle.partition("/")[0])
