"""virt-handler's main loop: what a VirtualMachineInstance wants of this host, and what its guest has to report.

Level-based, one key at a time. Follows pkg/virt-handler/vm.go in KubeVirt (execute, sync); migrations are ``mover``'s.
"""

import asyncio

import msgspec
import structlog

from kubelet_bridge.devcluster.devhost import vmistatus
from kubelet_bridge.devcluster.devhost.domains import Domain, Key
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.faults import Fault
from kubelet_bridge.devcluster.devhost.guestspec import guest_spec, last_state
from kubelet_bridge.devcluster.devhost.leftovers import Leftovers
from kubelet_bridge.devcluster.devhost.mover import Mover, Parts
from kubelet_bridge.devcluster.devhost.runtime import Guest
from kubelet_bridge.devcluster.devhost.vmistatus import Document, GuestView
from kubelet_bridge.devcluster.devhost.workers import Workers
from kubelet_bridge.errors import NotFound, Terminal, Transient
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VmiPhase

log = structlog.get_logger(__name__)

_WORKERS = 8
_PLUG_AGAIN_SECONDS = 3.0
_EVENTS = {
    VmiPhase.RUNNING: ("Started", "VirtualMachineInstance started."),
    VmiPhase.SUCCEEDED: ("Stopped", "The VirtualMachineInstance was shut down."),
    VmiPhase.FAILED: ("Stopped", "The VirtualMachineInstance crashed."),
}
"""What is said of a new phase (recordPhaseChangeEvent)."""


class Handler:
    """The VirtualMachineInstances of one host."""

    def __init__(self, parts: Parts, mover: Mover, faults: FaultBook, *, agent: bool) -> None:
        self._node = parts.node
        self._vmis = parts.vmis
        self._domains = parts.domains
        self._launchers = parts.launchers
        self._runtime = parts.runtime
        self._leftovers = Leftovers(parts.runtime, parts.vmis)
        self._queue = parts.queue
        self._clock = parts.clock
        self._mover = mover
        self._faults = faults
        self._agent = agent
        self._refused: dict[str, str] = {}
        for informer in (self._vmis.owned, self._vmis.incoming):
            informer.subscribe(self._seen)
        self._domains.subscribe(stopping=lambda domain: self._queue.add(domain.key))
        faults.subscribe(self._all)

    async def run(self) -> None:
        """For ever."""
        workers = Workers("virt-handler", self._queue, self._sync)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._vmis.owned.run(), name="vmis")
            group.create_task(self._vmis.incoming.run(), name="vmis-incoming")
            for cache in (self._launchers, self._vmis.owned, self._vmis.incoming):
                await cache.wait_synced()
            await self._leftovers.begin()
            for key in self._launchers.keys():  # noqa: SIM118 - a method of its own: also those whose instance has gone
                self._queue.add(key)
            for index in range(_WORKERS):
                group.create_task(workers.run(), name=f"virt-handler-{index}")

    def _all(self) -> None:
        for domain in self._domains.all():
            self._queue.add(domain.key)

    def _seen(self, _kind: EventKind, cached: Cached) -> None:
        self._queue.add((cached.head.namespace, cached.head.name))

    async def _sync(self, key: Key) -> None:
        vmi = self._vmis.cached(*key)
        if vmi is None:
            await self._left(key)
        elif not self._vmis.is_stale(vmi):
            await self._reconcile(key, vmi)

    async def _reconcile(self, key: Key, vmi: Document) -> None:
        uid = vmi["metadata"]["uid"]
        for other in self._domains.of(key):
            if other.guest.spec.uid != uid:
                await self._destroy(other)
        if VmiPhase(vmi["status"].get("phase", "")).final:
            self._refused.pop(uid, None)
            await self._over(uid)
            return
        if await self._mover.receive(vmi):
            return
        if vmi["metadata"].get("labels", {}).get(vmistatus.LABEL_NODE) != self._node:
            return
        domain = self._domains.get(uid) or await self._begin(vmi)
        if domain is not None:
            self._leftovers.found(uid)
            await self._drive(key, vmi, domain)

    async def _drive(self, key: Key, vmi: Document, domain: Domain) -> None:
        deleting = "deletionTimestamp" in vmi["metadata"]
        if await self._mover.send(vmi, domain) and not deleting:
            return
        await self._misbehave(key, vmi, domain)
        if deleting or domain.stop is not None:
            await self._domains.stop(domain, vmistatus.grace_period(vmi))
        if (left := await self._domains.enforce(domain)) is not None:
            self._queue.add(key, delay=left)
        await self._report(vmi, domain)

    async def _begin(self, vmi: Document) -> Domain | None:
        """Start the guest of a VirtualMachineInstance handed to this host, or find the one an earlier process ran."""
        match VmiPhase(vmi["status"].get("phase", "")):
            case VmiPhase.SCHEDULED if "deletionTimestamp" not in vmi["metadata"]:
                launcher = self._launchers.running(vmi["metadata"]["uid"])
                if launcher is None or self._domains.has_ended(launcher.metadata.uid):
                    return None
                return self._domains.add(await self._start(vmi, launcher), launcher.metadata.uid)
            case VmiPhase.RUNNING:
                return await self._adopt(vmi)
            case _:
                return None

    async def _start(self, vmi: Document, launcher: Pod) -> Guest:
        """Say once of each VirtualMachineInstance why its guest cannot be started; it is tried again all the same."""
        uid = vmi["metadata"]["uid"]
        try:
            guest = await self._runtime.start(guest_spec(vmi, launcher))
        except (Terminal, Transient) as error:
            if self._refused.get(uid) != error.message:
                self._refused[uid] = error.message
                await self._vmis.event(vmi, "SyncFailed", f"server error. {error.message}", warning=True)
            raise
        self._refused.pop(uid, None)
        return guest

    async def _adopt(self, vmi: Document) -> Domain | None:
        pods = [pod for pod in self._launchers.of(vmi["metadata"]["uid"]) if pod.status.phase == "Running"]
        launcher = next((pod for pod in pods if not self._domains.has_ended(pod.metadata.uid)), None)
        if launcher is None:
            await self._leftovers.end(vmi["metadata"]["uid"])
            return None
        guest = await self._runtime.adopt(guest_spec(vmi, launcher), last_state(vmi, self._clock()))
        if guest is not None:
            return self._domains.add(guest, launcher.metadata.uid)
        await self._vmis.put(vmistatus.failed(vmi, self._clock()))
        self._domains.end(launcher.metadata.uid)
        return None

    async def _report(self, vmi: Document, domain: Domain) -> None:
        await self._plug(vmi, domain)
        state = domain.guest.state
        info = await domain.guest.info() if self._agent and state.running and state.booted else None
        view = GuestView(
            state,
            domain.guest.spec.address,
            info,
            graceful=domain.stop is None or domain.stop.graceful,
            plugged=domain.guest.plugged,
        )
        after = vmistatus.reported(vmi, view, self._clock())
        if after != vmi:
            await self._vmis.put(after)
        phase = VmiPhase(after["status"]["phase"])
        if phase.final:
            self._domains.forget(domain)
        if phase.value != vmi["status"].get("phase") and phase in _EVENTS:
            await self._vmis.event(vmi, *_EVENTS[phase], warning=phase is VmiPhase.FAILED)

    async def _plug(self, vmi: Document, domain: Domain) -> None:
        """Have the guest's disks be those it is to have. One that cannot be plugged in keeps nothing else waiting."""
        guest = domain.guest
        if not guest.state.running:
            return
        uid = vmi["metadata"]["uid"]
        try:
            await guest.plug(msgspec.json.encode(vmi))
        except (Terminal, Transient, NotFound) as error:
            if self._refused.get(uid) != error.message:
                self._refused[uid] = error.message
                await self._vmis.event(vmi, "SyncFailed", f"server error. {error.message}", warning=True)
            self._queue.add(domain.key, delay=_PLUG_AGAIN_SECONDS)
        else:
            self._refused.pop(uid, None)

    async def _misbehave(self, key: Key, vmi: Document, domain: Domain) -> None:
        """Do to a guest what the faults say, or come back when it is time."""
        effects = self._faults.effects(*key, vmistatus.images(vmi))
        for fault, action in ((effects.crash, domain.guest.crash), (effects.shutdown, domain.guest.shutdown)):
            if fault is None or not domain.guest.state.running:
                continue
            if (left := self._left_until(fault, domain)) > 0:
                self._queue.add(key, delay=left)
            else:
                await self._faults.used(fault)
                await action()

    def _left_until(self, fault: Fault, domain: Domain) -> float:
        started = domain.guest.state.started_at
        return fault.after if started is None else fault.after - (self._clock() - started).total_seconds()

    async def _over(self, uid: str) -> None:
        """A VirtualMachineInstance has ended for good, whoever said so."""
        if (domain := self._domains.get(uid)) is not None:
            await self._destroy(domain)
        await self._leftovers.end(uid)
        for launcher in self._launchers.of(uid):
            self._domains.end(launcher.metadata.uid)

    async def _left(self, key: Key) -> None:
        """A VirtualMachineInstance is in neither cache: gone, moved away, or not ours yet."""
        domains, launchers = self._domains.of(key), self._launchers.of_key(key)
        if not domains and not launchers and not self._leftovers.has(key):
            return
        vmi = await self._vmis.find(*key)
        ours = vmi["metadata"]["uid"] if vmi and vmi["status"].get("nodeName") == self._node else ""
        for domain in domains:
            if domain.guest.spec.uid != ours:
                await self._destroy(domain)
        await self._leftovers.end_all(key, but=ours)
        for pod in launchers:
            if vmi is None or self._mover.is_over_for(vmi, pod):
                self._domains.end(pod.metadata.uid)

    async def _destroy(self, domain: Domain) -> None:
        await domain.guest.kill()
        self._domains.forget(domain)
