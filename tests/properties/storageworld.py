"""A few lines of Kubernetes' volume controllers and of CDI behind the ports of ``reconcile.volumes``.

Not a fake API server: it has no requests, versions or watches. It holds what exists and moves it on, round by round.
Each disk has ``content``: what somebody wrote to it once it was filled; nothing may ever take that away but a deletion.
"""

import itertools
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import ANNOTATION_SELECTED_NODE, ANNOTATIONS_PROVISIONER, PROVISIONER
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Origin, Part, VolumeInputs, VolumeSnapshot
from kubelet_bridge.reconcile.volumes.loop import VolumeLoop
from tests.properties.simulation import Clock, Crasher

Json = dict[str, Any]
NODE = "vnode"
_PV_PROTECTION = "kubernetes.io/pv-protection"


class World:
    """Claims (ours and real ones), PersistentVolumes and DataVolumes as JSON, and the hands that move them."""

    def __init__(self, *, retain: bool = False) -> None:
        self.clock = Clock()
        self.uids = (f"{number:08x}-0000-4000-8000-000000000000" for number in itertools.count(1))
        self.claims: dict[str, Json] = {}
        self.volumes: dict[str, Json] = {}
        self.datavolumes: dict[str, Json] = {}
        self.content: dict[str, str] = {}
        self.filled: list[str] = []
        self.made: list[str] = []
        self.policy = "Retain" if retain else "Delete"

    def stamp(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def add_claim(self, name: str) -> None:
        self.claims[name] = {
            "metadata": {
                "name": name, "namespace": "n", "uid": next(self.uids),
                "annotations": {ANNOTATIONS_PROVISIONER[0]: PROVISIONER, ANNOTATION_SELECTED_NODE: NODE},
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "vm-disk",
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Pending"},
        }  # fmt: skip

    def advance(self) -> None:
        """One round of everybody else's controllers."""
        self.clock.tick()
        self._bind()
        self._release()
        self._collect()
        for name, datavolume in list(self.datavolumes.items()):
            self._fill(name, datavolume)

    def _bind(self) -> None:
        for name, volume in self.volumes.items():
            claim = self.claims.get(volume["spec"]["claimRef"]["name"])
            if claim is None or claim["metadata"]["uid"] != volume["spec"]["claimRef"]["uid"]:
                continue
            if claim["spec"].setdefault("volumeName", name) == name and claim["status"]["phase"] != "Bound":
                claim["status"] |= {"phase": "Bound", "capacity": dict(volume["spec"]["capacity"])}
                volume["status"] = {"phase": "Bound"}

    def _release(self) -> None:
        for volume in self.volumes.values():
            reference = volume["spec"]["claimRef"]
            claim = self.claims.get(reference["name"])
            if claim is None or claim["metadata"]["uid"] != reference["uid"]:
                volume["status"] = {"phase": "Released"}
                volume["metadata"]["finalizers"] = [
                    one for one in volume["metadata"].get("finalizers", []) if one != _PV_PROTECTION
                ]

    def _collect(self) -> None:
        for name, volume in list(self.volumes.items()):
            if "deletionTimestamp" in volume["metadata"] and not volume["metadata"].get("finalizers"):
                del self.volumes[name]
        owners = {one["metadata"]["uid"] for one in self.datavolumes.values()}
        for name, claim in list(self.claims.items()):
            owner = claim["metadata"].get("ownerReferences")
            if owner and owner[0]["uid"] not in owners:
                del self.claims[name]

    def _fill(self, name: str, datavolume: Json) -> None:
        """CDI: a real claim of the same name, made again whenever it is missing; then it is filled."""
        claim = self.claims.get(name)
        if claim is None:
            uid = datavolume["metadata"]["uid"]
            size = datavolume["spec"]["storage"]["resources"]["requests"]["storage"]
            self.claims[name] = {
                "metadata": {
                    "name": name, "namespace": "n", "uid": next(self.uids),
                    "ownerReferences": [{"kind": "DataVolume", "name": name, "uid": uid}],
                },
                "spec": {"resources": {"requests": {"storage": size}}},
                "status": {"phase": "Bound", "capacity": {"storage": size}},
            }  # fmt: skip
            datavolume["status"] = {"phase": "ImportInProgress", "progress": "50.00%"}
            return
        datavolume["status"] = {"phase": "Succeeded"}
        claim["status"]["capacity"] = dict(claim["spec"]["resources"]["requests"])
        if claim["metadata"]["uid"] not in self.content and self._in_use(name):
            self.content[claim["metadata"]["uid"]] = name
            self.filled.append(claim["metadata"]["uid"])

    def _in_use(self, datavolume: str) -> bool:
        """Whether a Pod can have the disk: its claim is bound, and a guest has written to it at once."""
        handles = (one for one in self.volumes.values() if one["status"]["phase"] == "Bound")
        return any(one["spec"]["csi"]["volumeHandle"] == f"n/{datavolume}" for one in handles)


class Ports:
    """What one process sees and does. ``blind`` hides kinds from its cache, never from its GETs."""

    def __init__(self, world: World, rows: dict[str, VolumeIntent], crasher: Crasher) -> None:
        self.world, self.rows, self.crasher = world, rows, crasher
        self.blind: frozenset[Part] = frozenset()
        self.events: list[PodEvent] = []

    # The cluster.
    def load(self, key: VolumeKey, intent: VolumeIntent | None) -> VolumeSnapshot:
        snapshot = VolumeSnapshot(key=key, intent=intent)
        for part in Part:
            if part not in self.blind:
                snapshot = msgspec.structs.replace(snapshot, **{part.value: self._get(part, key, intent)})
        return snapshot

    def _get(self, part: Part, key: VolumeKey, intent: VolumeIntent | None) -> Any:
        world = self.world
        match part:
            case Part.CLAIM:
                found = world.claims.get(key.name)
                ours = found is not None and found["metadata"]["uid"] == key.uid
                return msgspec.convert(found, PersistentVolumeClaim) if ours else None
            case Part.VOLUME:
                found = world.volumes.get(f"pvc-{key.uid}")
                return msgspec.convert(found, PersistentVolume) if found else None
        if intent is None:
            return None
        if part is Part.DATAVOLUME:
            found = world.datavolumes.get(intent.datavolume)
            return msgspec.convert(found, DataVolume) if found else None
        found = world.claims.get(intent.datavolume)
        return msgspec.convert(found, PersistentVolumeClaim) if found else None

    def keys(self) -> Iterable[VolumeKey]:
        for claim in self.world.claims.values():
            metadata = claim["metadata"]
            yield VolumeKey("n", metadata["name"], metadata["uid"])

    async def inputs(self, claim: PersistentVolumeClaim) -> VolumeInputs:
        given = {
            "metadata": {"name": "vm-disk"}, "provisioner": PROVISIONER, "reclaimPolicy": self.world.policy,
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": True,
        }  # fmt: skip
        return VolumeInputs(storage_class=msgspec.convert(given, StorageClass), origin=Origin())

    async def confirm(self, snapshot: VolumeSnapshot, part: Part) -> VolumeSnapshot:
        return snapshot.confirmed(part, self._get(part, snapshot.key, snapshot.intent))

    async def create_datavolume(self, namespace: str, manifest: Json) -> DataVolume:
        made = self._create(self.world.datavolumes, manifest)
        self.world.made.append(made["metadata"]["labels"]["kubelet-bridge.io/pvc-uid"])
        self.crasher.done()
        return msgspec.convert(made, DataVolume)

    async def create_volume(self, manifest: Json) -> PersistentVolume:
        made = self._create(self.world.volumes, manifest)
        made["metadata"]["finalizers"] = [*made["metadata"]["finalizers"], _PV_PROTECTION]
        made["status"] = {"phase": "Available"}
        self.crasher.done()
        return msgspec.convert(made, PersistentVolume)

    def _create(self, where: dict[str, Json], manifest: Json) -> Json:
        self.crasher.before()
        name = manifest["metadata"]["name"]
        if name in where:
            raise AlreadyExists(409, "AlreadyExists", name)
        made: Json = msgspec.json.decode(msgspec.json.encode(manifest))
        made["metadata"]["uid"] = next(self.world.uids)
        where[name] = made
        return made

    def _existing(self, where: dict[str, Json], name: str, uid: str) -> Json | None:
        self.crasher.before()
        found = where.get(name)
        return found if found is not None and found["metadata"]["uid"] == uid else None

    async def mark_volume(self, name: str, marks: Json, *, uid: str) -> None:
        if found := self._existing(self.world.volumes, name, uid):
            head = found["metadata"]
            maps = {name: head.get(name, {}) | marks.get(name, {}) for name in ("labels", "annotations")}
            found["metadata"] |= {**marks, **maps}
        self.crasher.done()

    async def grow_volume(self, name: str, size: int, *, uid: str) -> None:
        if found := self._existing(self.world.volumes, name, uid):
            found["spec"]["capacity"] = {"storage": Quantity.of_bytes(size).canonical()}
        self.crasher.done()

    async def grow_claim(self, namespace: str, name: str, size: int, *, uid: str) -> None:
        if found := self._existing(self.world.claims, name, uid):
            found["spec"]["resources"]["requests"]["storage"] = Quantity.of_bytes(size).canonical()
        self.crasher.done()

    async def patch_claim_status(self, claim: PersistentVolumeClaim, patch: Json) -> None:
        if found := self._existing(self.world.claims, claim.metadata.name, claim.metadata.uid):
            found["status"] = {
                name: value for name, value in {**found["status"], **patch["status"]}.items()
                if value is not None and name != "conditions"
            }  # fmt: skip
        self.crasher.done()

    async def unselect_node(self, claim: PersistentVolumeClaim) -> None:
        raise AssertionError("every claim here can be served")

    async def delete_datavolume(self, namespace: str, name: str, *, uid: str) -> None:
        if self._existing(self.world.datavolumes, name, uid):
            del self.world.datavolumes[name]
        self.crasher.done()

    async def delete_volume(self, name: str, *, uid: str) -> None:
        if found := self._existing(self.world.volumes, name, uid):
            found["metadata"]["deletionTimestamp"] = self.world.stamp()
        self.crasher.done()

    # The store.
    def get(self, uid: str) -> VolumeIntent | None:
        return self.rows.get(uid)

    def live(self) -> list[VolumeIntent]:
        return list(self.rows.values())

    def new_id(self) -> str:
        return "vol_00000000"

    async def save(self, intent: VolumeIntent, *, reason: str, now: datetime) -> None:
        self.crasher.before()
        assert intent.status is not VolumeStatus.DESTROYED
        self.rows[intent.uid] = intent
        self.crasher.done()

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        self.crasher.before()
        self.rows.pop(uid, None)
        self.crasher.done()

    # Events.
    def record_on_claim(self, key: VolumeKey, events: Iterable[PodEvent]) -> None:
        self.events += events


def process(world: World, rows: dict[str, VolumeIntent], crasher: Crasher) -> tuple[VolumeLoop, Ports]:
    """A daemon that has just started."""
    ports = Ports(world, rows, crasher)
    return VolumeLoop(ports, ports, ports, NODE, clock=world.clock), ports
