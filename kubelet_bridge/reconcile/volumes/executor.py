"""Carries out one step of a disk's plan through the ports, and returns what is known afterwards."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, assert_never

import msgspec

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import AlreadyExists, ApiError, Forbidden, Invalid, Transient
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.storage import PersistentVolumeClaim
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Part, VolumeInputs, VolumeSnapshot
from kubelet_bridge.reconcile.ports import Clock
from kubelet_bridge.reconcile.volumes.actions import (
    Accept,
    Confirm,
    CreateDataVolume,
    CreateVolume,
    DeleteDataVolume,
    DeleteVolume,
    DiskStep,
    Forget,
    GrowBacking,
    GrowVolume,
    LetGo,
    LookUp,
    MarkVolume,
    PatchClaim,
    Record,
    Reschedule,
    Step,
)
from kubelet_bridge.reconcile.volumes.ports import ClaimEventPort, ImagePort, StoragePort, VolumeIntentPort
from kubelet_bridge.translate.storage import progress
from kubelet_bridge.translate.storage.classparameters import class_parameters
from kubelet_bridge.translate.storage.promise import wanted_source
from kubelet_bridge.translate.storage.refusal import CannotProvision
from kubelet_bridge.translate.storage.sources import Image

_WRITES = (
    "accept", "record", "datavolume", "volume", "mark", "grow-claim", "grow-volume", "status", "reschedule",
    "delete-datavolume", "delete-volume", "let-go", "forget",
)  # fmt: skip
_BEFORE = {name: failpoints.declare(f"volumes.{name}.before") for name in _WRITES}
_AFTER = {name: failpoints.declare(f"volumes.{name}.after") for name in _WRITES}


@contextlib.contextmanager
def _write(name: str) -> Iterator[None]:
    _BEFORE[name].hit()
    yield
    _AFTER[name].hit()


class VolumeExecutor:
    """Performs steps; knows nothing of when to perform which. Without ``images``, there are none.

    ``observe_bound`` is told of each claim that is bound, how many seconds after its disk was promised.
    """

    def __init__(
        self,
        storage: StoragePort,
        intents: VolumeIntentPort,
        events: ClaimEventPort,
        clock: Clock,
        images: ImagePort | None = None,
        observe_bound: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._intents = intents
        self._events = events
        self._clock = clock
        self._images = images
        self._observe_bound = observe_bound

    async def run(self, snapshot: VolumeSnapshot, step: Step) -> VolumeSnapshot | None:
        """Perform ``step``; return the snapshot with what it changed, None when only the cluster's answer can tell.

        Raises:
            BridgeError: it did not succeed; performing it again is safe.
        """
        match step:
            case Accept(accepted):
                return await self._save(snapshot, "accept", accepted, "Accepted")
            case Record(changed, reason):
                saved = await self._save(snapshot, "record", changed, reason)
                if reason == "Bound" and _is_new(snapshot.intent):
                    self._observe_bound((self._clock() - changed.accepted_at).total_seconds())
                if reason == "Populated" and snapshot.datavolume is not None:
                    self._events.record_on_claim(snapshot.subject, progress.notes(snapshot.datavolume))
                return saved
            case Confirm(part):
                return await self._storage.confirm(snapshot, part)
            case LookUp() | PatchClaim() | Reschedule():
                return None if snapshot.claim is None else await self._for_claim(snapshot.claim, snapshot, step)
            case _:
                return None if snapshot.intent is None else await self._for_disk(snapshot.intent, snapshot, step)

    async def _for_claim(
        self, claim: PersistentVolumeClaim, snapshot: VolumeSnapshot, step: LookUp | PatchClaim | Reschedule
    ) -> VolumeSnapshot | None:
        match step:
            case LookUp():
                return msgspec.structs.replace(snapshot, inputs=await self._look_up(claim))
            case PatchClaim(patch):
                with _write("status"):
                    await self._storage.patch_claim_status(claim, patch)
            case Reschedule():
                with _write("reschedule"):
                    await self._storage.unselect_node(claim)
            case _:
                assert_never(step)
        return None

    async def _for_disk(self, intent: VolumeIntent, snapshot: VolumeSnapshot, step: DiskStep) -> VolumeSnapshot | None:
        match step:
            case CreateDataVolume(manifest):
                return await self._create_datavolume(intent, snapshot, manifest)
            case CreateVolume(manifest):
                return await self._create_volume(intent, snapshot, manifest)
            case MarkVolume(uid, marks):
                with _write("mark"):
                    await self._storage.mark_volume(intent.volume, marks, uid=uid)
            case GrowBacking(uid, size, refused):
                await self._grow_backing(intent, snapshot, uid, size, refused)
            case GrowVolume(uid, size):
                with _write("grow-volume"):
                    await self._storage.grow_volume(intent.volume, size, uid=uid)
            case DeleteDataVolume(uid):
                with _write("delete-datavolume"):
                    await self._storage.delete_datavolume(intent.namespace, intent.datavolume, uid=uid)
            case DeleteVolume(uid):
                with _write("delete-volume"):
                    await self._storage.delete_volume(intent.volume, uid=uid)
            case LetGo(uid, finalizers, version):
                with _write("let-go"):
                    marks = {"finalizers": finalizers, "resourceVersion": version}
                    await self._storage.mark_volume(intent.volume, marks, uid=uid)
            case Forget(reason):
                with _write("forget"):
                    await self._intents.destroy(intent.uid, reason=reason, now=self._clock())
            case _:
                assert_never(step)
        return None

    async def _save(self, snapshot: VolumeSnapshot, name: str, intent: VolumeIntent, reason: str) -> VolumeSnapshot:
        with _write(name):
            await self._intents.save(intent, reason=reason, now=self._clock())
        return msgspec.structs.replace(snapshot, intent=intent)

    async def _look_up(self, claim: PersistentVolumeClaim) -> VolumeInputs:
        inputs = await self._storage.inputs(claim)
        if inputs.storage_class is None:
            return inputs
        try:
            parameters = class_parameters(inputs.storage_class.parameters)
            source = wanted_source(claim, parameters)
        except CannotProvision:  # the planner comes to the same, and says so
            return inputs
        size = claim.spec.resources.storage
        if not isinstance(source, Image) or self._images is None or not size:
            return inputs
        offer = await self._images.offer(source.name, size.ceil())
        return msgspec.structs.replace(inputs, image=offer)

    async def _create_datavolume(
        self, intent: VolumeIntent, snapshot: VolumeSnapshot, manifest: dict[str, Any]
    ) -> VolumeSnapshot:
        try:
            with _write("datavolume"):
                made = await self._storage.create_datavolume(intent.namespace, manifest)
        except AlreadyExists:  # an earlier try whose answer was lost, or somebody else's
            return await self._storage.confirm(snapshot, Part.DATAVOLUME)
        what = f"DataVolume {intent.datavolume} ({intent.promise.source}, {intent.promise.size})"
        self._say(snapshot, PodEvent(EventType.NORMAL, "Provisioning", f"Made {what}"))
        return msgspec.structs.replace(snapshot, datavolume=made, absent=snapshot.absent - {Part.DATAVOLUME})

    async def _create_volume(
        self, intent: VolumeIntent, snapshot: VolumeSnapshot, manifest: dict[str, Any]
    ) -> VolumeSnapshot:
        try:
            with _write("volume"):
                made = await self._storage.create_volume(manifest)
        except AlreadyExists:
            return await self._storage.confirm(snapshot, Part.VOLUME)
        message = f"Successfully provisioned volume {intent.volume}"
        self._say(snapshot, PodEvent(EventType.NORMAL, "ProvisioningSucceeded", message))
        return msgspec.structs.replace(snapshot, volume=made, absent=snapshot.absent - {Part.VOLUME})

    async def _grow_backing(
        self, intent: VolumeIntent, snapshot: VolumeSnapshot, uid: str, size: int, refused: dict[str, Any]
    ) -> None:
        try:
            with _write("grow-claim"):
                await self._storage.grow_claim(intent.namespace, intent.datavolume, size, uid=uid)
        except (Forbidden, Invalid) as error:
            self._say(snapshot, PodEvent(EventType.WARNING, "VolumeResizeFailed", error.message))
            if snapshot.claim is not None:
                with contextlib.suppress(ApiError):
                    await self._storage.patch_claim_status(snapshot.claim, refused)
            raise Transient(error.message, reason="VolumeResizeFailed") from error

    def _say(self, snapshot: VolumeSnapshot, event: PodEvent) -> None:
        self._events.record_on_claim(snapshot.subject, [event])


def _is_new(intent: VolumeIntent | None) -> bool:
    """Whether no claim has had the disk yet: one that was kept may be given to another."""
    return intent is not None and intent.status is VolumeStatus.PROVISIONING
