"""Makes, grows and removes the volumes of one host's storage, as claims and volumes ask for it."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.storage import decisions
from kubelet_bridge.devcluster.devhost.storage.objects import Claim, StorageClass, Volume
from kubelet_bridge.devcluster.devhost.storage.volumefiles import VolumeFiles
from kubelet_bridge.devcluster.devhost.vmistatus import timestamp
from kubelet_bridge.devcluster.devhost.workers import Workers
from kubelet_bridge.errors import AlreadyExists, ApiError, NotFound, Terminal
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.resources import EVENTS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES

log = structlog.get_logger(__name__)

_WORKERS = 4
_CLAIM = msgspec.json.Decoder(Claim)
_VOLUME = msgspec.json.Decoder(Volume)

Key = tuple[str, str]
"""Namespace and name of a claim; of a volume, with an empty namespace."""


class Provisioner:
    """The claims and volumes that the host ``node`` looks after."""

    def __init__(
        self, client: Client, node: str, files: VolumeFiles, faults: FaultBook, clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._node = node
        self._files = files
        self._faults = faults
        self._clock = clock
        self._refused: dict[str, str] = {}
        self._queue: WorkQueue[Key] = WorkQueue()
        self.claims = Informer(client, PERSISTENTVOLUMECLAIMS)
        self.volumes = Informer(client, PERSISTENTVOLUMES)
        for informer in (self.claims, self.volumes):
            informer.subscribe(self._changed)
        faults.subscribe(self._all)

    async def run(self) -> None:
        """For ever."""
        workers = Workers("storage", self._queue, self._sync)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.claims.run(), name="claims")
            group.create_task(self.volumes.run(), name="volumes")
            for informer in (self.claims, self.volumes):
                await informer.wait_synced()
            for index in range(_WORKERS):
                group.create_task(workers.run(), name=f"storage-{index}")

    def _changed(self, kind: EventKind, cached: Cached) -> None:
        if kind is EventKind.DELETED:
            self._refused.pop(cached.head.uid, None)
        self._queue.add((cached.head.namespace, cached.head.name))

    def _all(self) -> None:
        for cached in self.claims.all():
            self._queue.add((cached.head.namespace, cached.head.name))

    async def _sync(self, key: Key) -> None:
        namespace, name = key
        if not namespace:
            await self._release(name)
        elif (cached := self.claims.get(namespace, name)) is not None:
            claim = _CLAIM.decode(cached.raw)
            if decisions.shall_provision(claim, self._node):
                await self._provision(claim)
            elif claim.spec.volume_name:
                await self._expand(claim)

    async def _provision(self, claim: Claim) -> None:
        """File first, object second: a volume that is seen is there."""
        meta = claim.metadata
        try:
            if self._faults.effects(meta.namespace, decisions.asked_for(claim), ()).provision_error:
                raise Terminal("fault.test: the storage refuses")
            raw = await self._client.get(STORAGECLASSES, None, claim.spec.storage_class_name)
            volume = decisions.persistent_volume(claim, msgspec.json.decode(raw, type=StorageClass), self._node)
        except Terminal as error:
            await self._refuse(claim, error.message)
            return
        name, size = decisions.volume_name(claim), Quantity.parse(claim.size).ceil()
        await asyncio.to_thread(self._files.make, name, size, block=claim.spec.volume_mode == "Block")
        try:
            await self._client.create(PERSISTENTVOLUMES, None, volume)
        except AlreadyExists:
            log.debug("volume was there", volume=name)
        else:
            log.info("volume made", volume=name, claim=f"{meta.namespace}/{meta.name}", size=claim.size)

    async def _release(self, name: str) -> None:
        """Remove a volume that is no longer wanted: only one that the API server says so of now."""
        cached = self.volumes.get("", name)
        if cached is None or not decisions.shall_delete(_VOLUME.decode(cached.raw), self._node):
            return
        try:
            volume = _VOLUME.decode(await self._client.get(PERSISTENTVOLUMES, None, name))
        except NotFound:
            return
        if volume.spec.csi is None or not decisions.shall_delete(volume, self._node):
            return
        await asyncio.to_thread(self._files.remove, volume.spec.csi.volume_handle)
        await self._client.delete(PERSISTENTVOLUMES, None, name, uid=volume.metadata.uid)
        log.info("volume removed", volume=name)

    async def _expand(self, claim: Claim) -> None:
        """The file, then the volume, then what the claim is told it has: as external-resizer does."""
        cached = self.volumes.get("", claim.spec.volume_name)
        volume = _VOLUME.decode(cached.raw) if cached is not None else None
        size = decisions.wanted_size(claim, volume, self._node) if volume is not None else None
        if volume is None or volume.spec.csi is None or size is None:
            return
        if volume.spec.volume_mode == "Block":
            await asyncio.to_thread(self._files.grow, volume.spec.csi.volume_handle, Quantity.parse(size).ceil())
        capacity = {"capacity": {"storage": size}}
        meta = claim.metadata
        await self._client.patch(
            PERSISTENTVOLUMES, None, volume.metadata.name, {"spec": capacity}, kind=PatchType.MERGE
        )
        await self._client.patch(
            PERSISTENTVOLUMECLAIMS, meta.namespace, meta.name, {"metadata": {"uid": meta.uid}, "status": capacity},
            kind=PatchType.MERGE, subresource="status",
        )  # fmt: skip
        log.info("volume grown", volume=volume.metadata.name, size=size)

    async def _refuse(self, claim: Claim, message: str) -> None:
        """Say on the claim, once for each reason, why it gets no volume."""
        meta, now = claim.metadata, timestamp(self._clock())
        if self._refused.get(meta.uid) == message:
            return
        self._refused[meta.uid] = message
        event = {
            "metadata": {"generateName": f"{meta.name}.", "namespace": meta.namespace},
            "involvedObject": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
                "uid": meta.uid,
            },
            "reason": "ProvisioningFailed", "message": f"failed to provision volume: {message}", "type": "Warning",
            "count": 1, "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "dev-host-storage", "host": self._node},
        }  # fmt: skip
        try:
            await self._client.create(EVENTS, meta.namespace, event)
        except ApiError as error:
            log.warning("event lost", reason="ProvisioningFailed", claim=meta.name, error=str(error))
