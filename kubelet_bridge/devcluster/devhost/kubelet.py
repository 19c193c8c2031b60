"""The kubelet of the host: launcher Pods and any others that the scheduler bound to it.

It runs no container; the work of CDI's Pods is done by ``cdi.worker``. A launcher's ``compute`` lives as long as its
guest has something left to report (``domains``); every other container starts after the pull delay and runs until its
Pod is deleted. Probes are not executed: a launcher with a readiness probe is ready when its guest has booted. It posts
no events. Rules followed: pkg/kubelet/kubelet.go and status/status_manager.go in Kubernetes.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.devcluster.devhost.addresses import AddressPool, HostAddresses
from kubelet_bridge.devcluster.devhost.cdi.run import Run, Step, with_run
from kubelet_bridge.devcluster.devhost.cdi.worker import Worker
from kubelet_bridge.devcluster.devhost.domains import Domain, Domains
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.faults import Effects, FaultKind, from_image
from kubelet_bridge.devcluster.devhost.launchers import INDEXERS, Launchers, vmi_key
from kubelet_bridge.devcluster.devhost.node import node_headers
from kubelet_bridge.devcluster.devhost.podstatus import (
    COMPUTE,
    PodView,
    Stage,
    differs,
    images,
    pod_status,
    status_patch,
)  # fmt: skip
from kubelet_bridge.devcluster.devhost.workers import Workers
from kubelet_bridge.errors import Conflict, NotFound
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod, PodStatus
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.model.resources import PODS

log = structlog.get_logger(__name__)

_WORKERS = 8
_FIRST_PULL_SECONDS = 2.0
_RETRY_PULL_SECONDS = 10.0
_POD = msgspec.json.Decoder(Pod)

PodName = tuple[str, str]


class _Seen(msgspec.Struct):
    """A Pod this kubelet has begun with, and the version it last wrote: an older one in the cache is not news."""

    uid: str
    at: datetime
    version: int = 0


class Kubelet:
    """The Pods of one node."""

    def __init__(
        self, client: Client, node: str, addresses: HostAddresses, pool: AddressPool, domains: Domains,
        faults: FaultBook, *, pull_seconds: float, clock: Callable[[], datetime],
        has_image: Callable[[str], bool] = lambda _reference: True, worker: Worker | None = None,
    ) -> None:  # fmt: skip
        self._client = client
        self._addresses = addresses
        self._headers = node_headers(node)
        self._pool = pool
        self._domains = domains
        self._faults = faults
        self._pull_seconds = pull_seconds
        self._clock = clock
        self._has_image = has_image
        self._worker = worker
        self._seen: dict[PodName, _Seen] = {}
        self._names: dict[str, PodName] = {}
        self._queue: WorkQueue[PodName] = WorkQueue()
        self.pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={node}", indexers=INDEXERS, headers=self._headers
        )
        self.pods.subscribe(self._changed)
        self.launchers = Launchers(self.pods)
        domains.subscribe(ended=self._launcher_ended)
        faults.subscribe(self._all)
        if worker is not None:
            worker.subscribe(self._worked)

    async def run(self) -> None:
        """For ever."""
        workers = Workers("kubelet", self._queue, self._sync)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pods.run(), name="pods")
            await self.pods.wait_synced()
            self._claim_addresses()
            for index in range(_WORKERS):
                group.create_task(workers.run(), name=f"kubelet-{index}")

    def guest_changed(self, uid: str) -> None:
        """The guest of a VirtualMachineInstance is in another state: its launcher may be ready now, or not any more."""
        for name in self.launchers.names(uid):
            self._queue.add(name)

    def _changed(self, _kind: EventKind, cached: Cached) -> None:
        self._queue.add((cached.head.namespace, cached.head.name))

    def _launcher_ended(self, launcher: str) -> None:
        if (name := self._names.get(launcher)) is not None:
            self._queue.add(name)

    def _worked(self, uid: str) -> None:
        if (name := self._names.get(uid)) is not None:
            self._queue.add(name)

    def _all(self) -> None:
        for cached in self.pods.all():
            self._queue.add((cached.head.namespace, cached.head.name))

    def _claim_addresses(self) -> None:
        """Before anything new gets an address: what an earlier process of this host has handed out."""
        for cached in self.pods.all():
            pod = _POD.decode(cached.raw)
            if pod.status.pod_ip and not pod.spec.host_network:
                self._pool.claim(pod.metadata.uid, pod.status.pod_ip)
            if _is_final(pod):
                self._pool.release(pod.metadata.uid)

    async def _sync(self, name: PodName) -> None:
        cached = self.pods.get(*name)
        seen = self._seen.get(name)
        if seen is not None and (cached is None or cached.head.uid != seen.uid):
            await self._gone(name, seen)
        if cached is not None:
            await self._drive(name, _POD.decode(cached.raw))

    async def _gone(self, name: PodName, seen: _Seen) -> None:
        """The object has vanished, perhaps by force: whatever still runs of it must not."""
        del self._seen[name], self._names[seen.uid]
        self._pool.release(seen.uid)
        if (domain := self._domains.in_launcher(seen.uid)) is not None:
            await domain.guest.kill()
        self._domains.launcher_gone(seen.uid)
        if self._worker is not None:
            self._worker.forget(seen.uid)

    async def _drive(self, name: PodName, pod: Pod) -> None:
        seen = self._seen.setdefault(name, _Seen(pod.metadata.uid, self._clock()))
        self._names[seen.uid] = name
        if int(pod.metadata.resource_version) < seen.version:
            return
        if not _is_final(pod):
            view = await self._view(name, pod, seen)
            view, run = self._with_work(pod, view)
            status = pod_status(pod, view, self._clock().replace(microsecond=0))
            await self._write(pod, with_run(status, run) if run is not None else status, seen)
            if view.stage is not Stage.ENDED:
                return
        self._pool.release(pod.metadata.uid)
        if pod.metadata.deletion_timestamp is not None:
            await self._delete(pod)

    async def _view(self, name: PodName, pod: Pod, seen: _Seen) -> PodView:
        """How far a Pod has come; the work queue is told when to look again."""
        owner = vmi_key(pod.metadata) or name
        effects = self._faults.effects(*owner, images(pod))
        domain = self._domains.in_launcher(pod.metadata.uid)
        if self._domains.has_ended(pod.metadata.uid):
            return self._at(Stage.ENDED, pod)
        if pod.metadata.deletion_timestamp is not None and not await self._stopping(name, pod, domain):
            return self._at(Stage.ENDED, pod)
        if pod.status.phase != "Running":
            failing = _failing_images(pod) if effects.pull_error else await self._absent_disks(pod)
            if (early := self._before_start(name, pod, seen, failing)) is not None:
                return early
        return self._at(Stage.RUNNING, pod, ready=self._is_ready(pod, domain, effects))

    def _with_work(self, pod: Pod, view: PodView) -> tuple[PodView, Run | None]:
        """How far the work of one of CDI's Pods is, and what that makes of the Pod as a whole."""
        if self._worker is None or view.stage is not Stage.RUNNING or not self._worker.is_for(pod):
            return view, None
        run = self._worker.look(pod, view.pod_ip)
        if run.step is Step.CREATING:
            return msgspec.structs.replace(view, stage=Stage.PULLING, pod_ip=pod.status.pod_ip), run
        if run.step is Step.DONE:
            return msgspec.structs.replace(view, stage=Stage.ENDED), run
        return msgspec.structs.replace(view, ready=run.ready), run

    async def _absent_disks(self, pod: Pod) -> frozenset[str]:
        """The container disks of a launcher that this host's mode cannot get. A Pod of another kind is only played."""
        if vmi_key(pod.metadata) is None:
            return frozenset()
        own = {container.image for container in pod.spec.containers if container.name == COMPUTE}
        disks = set(images(pod)) - own
        return frozenset({disk for disk in disks if not await asyncio.to_thread(self._has_image, disk)})

    def _before_start(self, name: PodName, pod: Pod, seen: _Seen, failing: frozenset[str]) -> PodView | None:
        waited = (self._clock() - seen.at).total_seconds()
        if failing:
            first = waited < _FIRST_PULL_SECONDS
            self._queue.add(name, delay=_FIRST_PULL_SECONDS - waited if first else _RETRY_PULL_SECONDS)
            view = self._at(Stage.PULL_FAILED, pod)
            return msgspec.structs.replace(
                view, pull_reason="ErrImagePull" if first else "ImagePullBackOff", failing_images=failing
            )
        if waited < self._pull_seconds:
            self._queue.add(name, delay=self._pull_seconds - waited)
            return self._at(Stage.PULLING, pod)
        return None

    async def _stopping(self, name: PodName, pod: Pod, domain: Domain | None) -> bool:
        """Have the guest stop; False when there is none left to wait for. It is killed when a container would be."""
        deadline = pod.metadata.deletion_timestamp
        if domain is None or deadline is None:
            return False
        left = (deadline - self._clock()).total_seconds()
        if left > 0:
            await self._domains.stop(domain, left)
            self._queue.add(name, delay=left)
        else:
            await domain.guest.kill()
        return True

    def _is_ready(self, pod: Pod, domain: Domain | None, effects: Effects) -> bool:
        if effects.never_ready:
            return False
        compute = next((container for container in pod.spec.containers if container.name == COMPUTE), None)
        if compute is None or compute.readiness_probe is None:
            return True
        state = domain.guest.state if domain else None
        return state is not None and state.running and state.booted and not state.paused

    def _at(self, stage: Stage, pod: Pod, *, ready: bool = True) -> PodView:
        address = pod.status.pod_ip
        if pod.spec.host_network:
            address = self._addresses.handler
        elif stage is Stage.RUNNING:
            address = self._pool.allocate(pod.metadata.uid)
        return PodView(stage=stage, host_ip=self._addresses.node, pod_ip=address, ready=ready)

    async def _write(self, pod: Pod, wanted: PodStatus, seen: _Seen) -> None:
        if not differs(pod, wanted):
            return
        meta = pod.metadata
        raw = await self._client.patch(
            PODS, meta.namespace, meta.name, status_patch(pod, wanted), kind=PatchType.STRATEGIC, subresource="status",
            headers=self._headers,
        )  # fmt: skip
        seen.version = int(msgspec.json.decode(raw, type=ObjectHead).metadata.resource_version)

    async def _delete(self, pod: Pod) -> None:
        """Take the object away: the kubelet's last word on a Pod."""
        meta = pod.metadata
        try:
            await self._client.delete(
                PODS, meta.namespace, meta.name, uid=meta.uid, grace_seconds=0, headers=self._headers
            )
        except (NotFound, Conflict):
            log.debug("pod already gone", pod=meta.name, namespace=meta.namespace)


def _failing_images(pod: Pod) -> frozenset[str]:
    """The images to blame: those that ask for it by name, else the guest's disks (all but the launcher's own)."""
    every = images(pod)
    named = [image for image in every if (fault := from_image(image)) and fault.kind is FaultKind.PULL_ERROR]
    own = {container.image for container in pod.spec.containers if container.name == COMPUTE}
    return frozenset(named or (set(every) - own) or every)


def _is_final(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")
