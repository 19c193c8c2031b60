"""Everything, made and connected: what is opened before what, and what runs beside what.

The order matters. The store is open before the cluster is looked at; caches are full before the first Pod is worked on;
the kubelet API listens before the Node says Ready.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import structlog

from kubelet_bridge import __version__
from kubelet_bridge.agent.v1.agent_pb2 import PodManifest
from kubelet_bridge.aio.lag import measure_lag
from kubelet_bridge.aio.parts import Part
from kubelet_bridge.aio.tasks import every
from kubelet_bridge.daemon import serving
from kubelet_bridge.daemon.cachedpods import CachedPods
from kubelet_bridge.daemon.consolelogs import console_logs
from kubelet_bridge.daemon.disks import Disks
from kubelet_bridge.daemon.fromsettings import bridge_config, check_quantities, identity
from kubelet_bridge.daemon.guestside import GuestSide
from kubelet_bridge.daemon.imagecatalogue import ImageCatalogue
from kubelet_bridge.daemon.inside import serving as inside
from kubelet_bridge.daemon.inside.finder import Finder
from kubelet_bridge.daemon.inside.kubevirt import KubeVirtMachines
from kubelet_bridge.daemon.nodeside import NodeSide, node_ip
from kubelet_bridge.daemon.podlogs import PodLogs
from kubelet_bridge.daemon.recovery import recover
from kubelet_bridge.daemon.tallies import tally
from kubelet_bridge.daemon.usage import Capacity, NodeMeter, capacity
from kubelet_bridge.daemon.vmimeter import VmiMeter
from kubelet_bridge.daemon.vmreader import StoredVms
from kubelet_bridge.errors import Transient
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.bytestream import ByteStream, ByteStreams
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.eventrecorder import EventRecorder
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.nodes import NodeObjects
from kubelet_bridge.kube.outages import OutageTolerations
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kube.warnings import WarningCopier
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.kubelet_api.console.consoles import Consoles
from kubelet_bridge.kubelet_api.health import Check
from kubelet_bridge.kubelet_api.logs.handler import routes as log_routes
from kubelet_bridge.kubelet_api.stats.volumes import VolumeCollector
from kubelet_bridge.kubelet_api.vms.routes import routes as vm_routes
from kubelet_bridge.model.core import Node
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.resources import NODES
from kubelet_bridge.node import health
from kubelet_bridge.node.lease import NodeLease
from kubelet_bridge.node.ports import ReadyState
from kubelet_bridge.node.registration import Registration
from kubelet_bridge.reconcile.manifests import ManifestMaker
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.syncloop import SyncLoop, SyncResult
from kubelet_bridge.reconcile.volumes.images import CatalogueImages
from kubelet_bridge.settings import Settings
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.telemetry.metrics import Metrics
from kubelet_bridge.translate.config import BridgeConfig, GuestAccess, ImageDisks

log = structlog.get_logger(__name__)

PRUNE_EVERY = 3600.0
TOLERATE_EVERY = 2.0
"""Seconds until a Pod is made to tolerate our absence; it would be evicted after 300."""


def utc_now() -> datetime:
    """The clock of the whole process."""
    return datetime.now(UTC)


async def assemble(settings: Settings) -> "Assembly":
    """Make every part. Talks to nobody yet.

    Raises:
        SettingsError: a file or an address in the settings is not usable.
    """
    check_quantities(settings)
    metrics = Metrics(__version__)
    found = await credentials.load(Path(settings.kubeconfig) if settings.kubeconfig else None)
    return Assembly(settings, metrics, found, await node_ip(settings, found.base_url))


class Assembly:
    """One virtual node."""

    def __init__(self, settings: Settings, metrics: Metrics, found: credentials.Credentials, ip: str) -> None:
        self.settings, self.metrics, self.ip = settings, metrics, ip
        self.client = Client(found, observe=metrics.observe_api_request)
        self.streams = ByteStreams(found)
        self.consoles = Consoles(lambda namespace, vm: partial(self.streams.console, namespace, vm))
        self.database = Database(Path(settings.state_dir), observe=self._transaction)
        self.view = NodeView(self.client, settings.node_name)
        self.events = EventRecorder(
            self.client, settings.node_name, clock=utc_now,
            dropped=lambda: metrics.events_posted.labels("dropped").inc(),
        )  # fmt: skip
        self.warnings = WarningCopier(self.client, self.view, self.events.record, since=utc_now())
        self.images = ImageCatalogue(self.client, settings, lambda images: self._reconfigure(images=images))
        self.disks = Disks(
            self.client, self.view, self.database, self.events, settings.node_name, clock=utc_now,
            resync=settings.resync_seconds, changed=self._enqueue,
            images=CatalogueImages(self.view, self.images.current), metrics=metrics,
        )  # fmt: skip
        self.view.imported = lambda result: metrics.image_imports.labels(result).inc()
        self.view.unfilled, self.view.lost = self.disks.view.unfilled, self.disks.lost
        self.view.disks_known = lambda: self.disks.store is not None
        self.own_node = Informer(self.client, NODES, field_selector=f"metadata.name={settings.node_name}")
        self.meter = NodeMeter(
            settings.node_name, Path(settings.state_dir), pods=self.view.pods.all, alive=self._alive,
            capacity=self._capacity,
        )  # fmt: skip
        self.guestside = GuestSide(
            settings, self.client, self.database, metrics, ip, changed=self._poke, call=self._call,
            record_usage=self.meter.record,
        )  # fmt: skip
        metrics.add(VolumeCollector(self.meter.freeze_claims))
        self.vmi_meter = VmiMeter(
            self.client, self.view, told=self.meter.is_told, record=self.meter.record,
            interval=settings.kubevirt_metrics_seconds,
        )  # fmt: skip
        self.nodeside = NodeSide(
            settings, self.client, self.database, self.view.uncounted, ip, lambda: self.guestside.trouble
        )
        self.tls = serving.tls(settings, self.client, self.nodeside.addresses)
        self.pods = CachedPods(self.view)
        self.logs = PodLogs(
            self.pods.get, self._intent, self.guestside.logs, console_logs(self.client, self.view).open
        )  # fmt: skip
        self.view.pods.subscribe(lambda _, pod: self.guestside.logs.poke(pod.head.uid))
        machines = KubeVirtMachines(self.streams, self.consoles)
        finder = Finder(self.pods.get, self._intent, self.guestside.session, machines)
        vms = StoredVms(Path(settings.state_dir), self.view, self.guestside.guest)
        self.server = serving.kubelet_server(
            settings, self.client, self.view, metrics, self.tls, self._checks(), self.nodeside.maximum_pods,
            self.meter.freeze, [
                *inside.routes(finder, settings), *log_routes(self.logs.open),
                *vm_routes(vms, console=self.consoles.view, screen=lambda *vm: machines.screen(*vm)()),
            ],
        )  # fmt: skip
        self.admin = serving.admin_server(settings, metrics, {"node": self._not_ready})
        api = NodeObjects(self.client, settings.node_name)
        self.registration = Registration(
            api, identity(settings), status=self.nodeside.status, ready=self._ready,
            report_every=settings.status_seconds,
        )  # fmt: skip
        self.lease = NodeLease(
            api, settings.node_name, node_uid=lambda: self.registration.uid, interval=settings.lease_seconds
        )
        self.store: IntentStore | None = None
        self.loop: SyncLoop | None = None
        self.config: BridgeConfig | None = None
        self._kubevirt_seen = False

    def parts(self) -> list[Part]:
        """In the order they are opened; they are closed the other way round."""
        return [
            Part(name="API client", open=lambda: self.client),
            Part(name="byte streams", open=lambda: self.streams),
            Part(name="intent store", open=lambda: self.database, run=self.database.run),
            Part(name="usage", open=lambda: self.meter, run=self.meter.run),
            Part(name="guest logs", open=lambda: self.guestside.logs, run=self.guestside.logs.run),
            Part(name="TLS", open=lambda: self.tls, run=self.tls.run),
            Part(name="kubelet API", open=lambda: self.server, run=self.server.run),
            Part(name="admin port", open=lambda: self.admin),
            Part(name="node", open=lambda: self.registration, run=self._register),
            Part(name="lease", run=self._hold_lease),
            Part(name="watches", run=self._watch),
            Part(name="events", run=self.events.run),
            Part(name="consoles", run=self.consoles.run),
            Part(name="guests", run=self.guestside.run),
            Part(name="usage of VMs", run=self.vmi_meter.run),
            Part(name="KubeVirt", run=self._attend_kubevirt),
            Part(name="image catalogue", run=self.images.run),
            Part(name="corridor", run=self._corridor),
            *([Part(name="tolerations", run=self._tolerate_outages)] if self.settings.tolerate_outages else []),
            Part(name="disks", run=self.disks.run),
            Part(name="loop lag", run=lambda: measure_lag(self.metrics.loop_lag.observe)),
        ]

    async def _watch(self) -> None:
        def changed(kind: EventKind, _: Cached) -> None:
            if kind is EventKind.DELETED:
                self.registration.poke()

        self.own_node.subscribe(changed)
        async with asyncio.TaskGroup() as group:
            for informer in [*self.view.informers, *self.warnings.informers, self.nodeside.hosts, self.own_node]:
                group.create_task(informer.run(), name=f"watch {informer.resource.plural}")

    async def _corridor(self) -> None:
        """Once the caches are full: fill a lost store, then work on Pods for ever."""
        store = await IntentStore.load(self.database)
        await self.view.wait_synced()
        await recover(self.database, store, self.view, utc_now)
        loop = await self._sync_loop(store)
        self.view.subscribe(loop.enqueue)
        tally(self.metrics, self.view, store, loop)
        self.store, self.loop = store, loop
        self.registration.poke()
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run(), name="sync loop")
            group.create_task(
                every(PRUNE_EVERY, lambda: store.prune(utc_now()), jitter=0.1, tolerate=(Transient,)), name="prune"
            )

    async def _sync_loop(self, store: IntentStore) -> SyncLoop:
        guests = await self.guestside.begin(
            {intent.uid for intent in store.live()}, manifest=lambda key: self._manifests(store, key),
            record=lambda key, event: self.events.record(key, [event]), enqueue=self._enqueue,
            served=lambda access: self._reconfigure(guest=access, guests_awaited=""),
        )  # fmt: skip
        config = await bridge_config(self.settings)
        access, trouble = await self.guestside.access(), self.guestside.trouble
        self.config = config = msgspec.structs.replace(
            config, guest=access, guests_awaited=trouble.message if trouble else "", images=await self.images.current()
        )
        status = StatusManager(
            self.view, self.events, host_ip=self.ip, observe_start=self.metrics.pod_start_duration.observe
        )
        self.pods.unwritten = status.unwritten
        return SyncLoop(
            self.view, store, self.events, status, config, clock=utc_now, guests=guests,
            workers=self.settings.workers, resync=self.settings.resync_seconds, observe_sync=self._synced,
        )  # fmt: skip

    async def _tolerate_outages(self) -> None:
        outages = OutageTolerations(self.client, self.view.pods)
        await every(TOLERATE_EVERY, outages.mend, jitter=0.1)

    def _alive(self) -> set[str] | None:
        """Uids of the Pods that there are, and of those whose VMs are still taken down."""
        if self.store is None:
            return None
        promised = {one.pod_uid or one.uid for one in self.store.live()}
        return promised | {one.head.uid for one in self.view.pods.all()}

    def _capacity(self) -> Capacity:
        found = self.own_node.get(None, self.settings.node_name)
        return capacity(msgspec.json.decode(found.raw, type=Node)) if found is not None else Capacity()

    def _intent(self, uid: str) -> Intent | None:
        """Raises ``Transient`` before the store is read."""
        if self.store is None:
            raise Transient("the node has only just been started", reason="Starting")
        return self.store.get(uid)

    def _poke(self) -> None:
        self.registration.poke()

    def _call(self, port: int, key: PodKey) -> AbstractAsyncContextManager[ByteStream]:
        """To the guest of a Pod. Raises ``Transient`` when it has none."""
        intent = self._intent(key.uid)
        if intent is None:
            raise Transient("the Pod has no virtual machine", reason="NoVirtualMachine")
        return self.streams.vsock(key.namespace, intent.vm_name, port)

    async def _manifests(self, store: IntentStore, key: PodKey) -> PodManifest | None:
        if self.config is None:
            return None
        return await ManifestMaker(self.view, store, self.events, self.config, host_ip=self.ip).make(key)

    def _reconfigure(self, **changes: GuestAccess | ImageDisks | str) -> None:
        if self.config is not None:
            self.config = msgspec.structs.replace(self.config, **changes)
            if self.loop is not None:
                self.loop.reconfigure(self.config)

    def _enqueue(self, key: PodKey) -> None:
        if self.loop is not None:  # else it looks at every Pod when it begins
            self.loop.enqueue(key)

    async def _register(self) -> None:
        """The Node exists only after its kubelet API listens, and says Ready only when Pods can be taken."""
        await self.nodeside.learn(self.server.port)
        await self.nodeside.hosts.wait_synced()
        await self.registration.run()

    async def _hold_lease(self) -> None:
        await self.registration.registered.wait()
        await self.lease.run()

    async def _attend_kubevirt(self) -> None:
        def changed() -> None:
            self._kubevirt_seen = self._kubevirt_seen or bool(self.nodeside.availability.available)
            self.registration.poke()
            if self.nodeside.availability.available and self.loop is not None:
                self.loop.resync()

        await health.watch(self.nodeside.probe, self.nodeside.availability, changed)

    def _ready(self) -> ReadyState:
        if self.loop is None:
            return ReadyState(ready=False, reason="CachesNotSynced", message=self._unsynced())
        if not self._kubevirt_seen:  # later outages have their own condition; what runs goes on running
            return ReadyState(ready=False, reason="KubeVirtNotSeen", message="KubeVirt has not answered yet")
        return ReadyState(ready=True, reason="KubeletReady", message="kubelet-bridge is posting ready status")

    def _unsynced(self) -> str:
        waiting = [informer.resource.plural for informer in self.view.informers if not informer.synced]
        return f"waiting for a first list of {', '.join(waiting)}" if waiting else "the intent store is being read"

    def _not_ready(self) -> str | None:
        state = self._ready()
        if not state.ready:
            return state.message
        return None if self.registration.registered.is_set() else "the Node is not registered yet"

    def _checks(self) -> dict[str, Check]:
        return {
            "ping": lambda: None, "log": lambda: None,
            "syncloop": lambda: None if self.loop is not None else "the sync loop has not started",
        }  # fmt: skip

    def _transaction(self, name: str, seconds: float, _rows: int) -> None:
        self.metrics.observe_transaction(name, seconds, ok=True)

    def _synced(self, result: SyncResult, seconds: float, waited: float) -> None:
        self.metrics.observe_sync(result, seconds)
        self.metrics.queue_latency.observe(waited)
        if result is not SyncResult.OK:
            self.metrics.queue_retries.inc()
