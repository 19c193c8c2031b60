"""The disks' corridor, made and run beside the Pods'. Without CDI it tells claims so; the Pods' goes on meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.aio.tasks import every
from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.claimants import Claimants
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.eventrecorder import EventRecorder
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kube.storageview import StorageView
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import LABEL_POD_UID, PodKey
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.volumeintent import VolumeKey
from kubelet_bridge.reconcile.volumes.loop import VolumeLoop
from kubelet_bridge.reconcile.volumes.ports import ImagePort
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.volumerebuild import rebuild_volumes
from kubelet_bridge.store.volumes import VolumeStore
from kubelet_bridge.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_PRUNE_EVERY = 3600.0


class Disks:
    """One virtual node's disks, for the Pods that ``node`` shows.

    ``images`` is the catalogue, if there is one. ``changed`` is told of Pods whose disks are not as they were.
    """

    def __init__(
        self,
        client: Client,
        node: NodeView,
        database: Database,
        events: EventRecorder,
        node_name: str,
        *,
        clock: Callable[[], datetime],
        resync: float,
        changed: Callable[[PodKey], None],
        images: ImagePort | None = None,
        metrics: Metrics,
    ) -> None:
        self.view = StorageView(client, node_name, node.claim_users.names)
        self.store: VolumeStore | None = None
        self._claimants = Claimants(node.pods)
        self._changed = changed
        self._pods = node.pods
        self.view.subscribe(self._tell_pods)
        self.view.datavolumes.subscribe(self._tell_owner)
        self.view.refusals.subscribe(self._tell_owner_of)
        self._vms = node.vms
        self._database = database
        self._events = events
        self._node = node_name
        self._clock = clock
        self._resync = resync
        self._images = images
        self._metrics = metrics

    def lost(self, pod: Pod) -> list[str]:
        """In words, what became of those of the Pod's disks that somebody else has deleted."""
        if self.store is None:
            return []
        rows = (self.store.get(uid) for uid in self.view.disks_of(pod))
        found = ((row.name, row.lost or self.view.replaced(row)) for row in rows if row is not None)
        return [f"disk of claim {name} is lost: {what}" for name, what in found if what]

    def _tell_pods(self, key: VolumeKey) -> None:
        for pod in self._claimants.of(key.namespace, key.name):
            self._changed(pod)

    def _tell_owner(self, _: EventKind, datavolume: Cached) -> None:
        """Tell of the Pod whose VM boots from it, if that is a Pod of this node."""
        for pod in self._pods.by_index("uid", datavolume.head.labels.get(LABEL_POD_UID, "")):
            self._changed(PodKey(pod.head.namespace, pod.head.name, pod.head.uid))

    def _tell_owner_of(self, claim: Cached) -> None:
        """The same for the real claim of such a disk, which has the name of its DataVolume."""
        if (datavolume := self.view.datavolumes.get(claim.head.namespace, claim.head.name)) is not None:
            self._tell_owner(EventKind.MODIFIED, datavolume)

    async def run(self) -> None:
        """Once the caches are full: fill a lost store, then work on disks for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self.view.informers:
                group.create_task(informer.run(), name=f"watch {informer.resource.plural}")
            group.create_task(self._corridor(), name="disks' corridor")

    async def _corridor(self) -> None:
        store = await VolumeStore.load(self._database)
        await self.view.wait_synced()
        await self._vms.wait_synced()
        await self._recover(store)
        self.store = store
        loop = VolumeLoop(
            self.view, store, self._events, self._node, clock=self._clock, images=self._images, resync=self._resync,
            observe_bound=self._metrics.volume_provision.observe, observe_failure=self._metrics.volume_sync_errors.inc,
        )  # fmt: skip
        self._metrics.count(
            "volumes", "Disks promised to claims.", "state", lambda: Counter(one.status for one in store.live())
        )
        self.view.subscribe(loop.enqueue)
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run(), name="disks' loop")
            group.create_task(
                every(_PRUNE_EVERY, lambda: store.prune(self._clock()), jitter=0.1, tolerate=(Transient,)),
                name="prune disks",
            )

    async def _recover(self, store: VolumeStore) -> None:
        """Take in the disks that the cluster shows and the store does not know: it was lost."""
        volumes = [msgspec.json.decode(one.raw, type=PersistentVolume) for one in self.view.volumes.all()]
        rebuilt = rebuild_volumes(volumes, self._node, new_id=store.new_id)
        if found := await store.adopt(rebuilt, now=self._clock()):
            log.warning("rows of disks rebuilt from the cluster", count=found)
