"""The two ends of a live migration on this host: receiving a guest, and sending one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.devcluster.devhost import migration, vmistatus
from kubelet_bridge.devcluster.devhost.domains import Domain, Domains, Key
from kubelet_bridge.devcluster.devhost.guestspec import guest_spec
from kubelet_bridge.devcluster.devhost.launchers import Launchers
from kubelet_bridge.devcluster.devhost.migration import Step
from kubelet_bridge.devcluster.devhost.runtime import Exit, GuestRuntime
from kubelet_bridge.devcluster.devhost.vmiclient import VmiClient
from kubelet_bridge.devcluster.devhost.vmistatus import Document, GuestView
from kubelet_bridge.errors import Transient
from kubelet_bridge.model.core import Pod

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What both halves of a host's virt-handler work with."""

    node: str
    vmis: VmiClient
    domains: Domains
    launchers: Launchers
    runtime: GuestRuntime
    queue: WorkQueue[Key]
    clock: Callable[[], datetime]


class Mover:
    """Migrations to and from this host, which receives at ``address``.

    ``run`` owns the tasks that send; a key is put into the queue when one of them has ended.
    """

    def __init__(self, parts: Parts, address: str) -> None:
        self._node = parts.node
        self._vmis = parts.vmis
        self._domains = parts.domains
        self._launchers = parts.launchers
        self._runtime = parts.runtime
        self._queue = parts.queue
        self._clock = parts.clock
        self._address = address
        self._group: asyncio.TaskGroup | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, str] = {}

    async def run(self) -> None:
        """Own the tasks that send guests, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.Event().wait()

    async def receive(self, vmi: Document) -> bool:
        """Do this host's part as the target of a migration; False when it is not the target."""
        match migration.target_step(vmi, self._node):
            case Step.RECEIVE:
                await self._listen(vmi)
            case Step.TAKE_OVER:
                await self._take_over(vmi)
            case Step.CLEAN:
                await self._clean(vmi)
            case _:
                return False
        return True

    async def send(self, vmi: Document, domain: Domain) -> bool:
        """Do this host's part as the source; True while the guest is on its way and not to be touched."""
        step = migration.source_step(vmi, self._node)
        if step is Step.ABORT:
            await self._abort(vmi, domain)
            return True
        if step is not Step.SEND:
            return False
        await self._push(vmi, domain)
        return domain.guest.state.exit in (None, Exit.MIGRATED)

    def is_over_for(self, vmi: Document, launcher: Pod) -> bool:
        """Whether ``launcher`` was one end of a migration that has left it without a guest."""
        state = vmi["status"].get("migrationState") or {}
        left = "targetPod" if state.get("failed") else "sourcePod"
        return bool(state.get("completed")) and state.get(left) == launcher.metadata.name

    async def _listen(self, vmi: Document) -> None:
        state, uid = vmi["status"]["migrationState"], vmi["metadata"]["uid"]
        launcher = self._launchers.running(uid, state["targetPod"])
        if launcher is None:
            return
        domain = self._domains.get(uid)
        if domain is None:
            guest = await self._runtime.receive(guest_spec(vmi, launcher), self._address, state["migrationUid"])
            domain = self._domains.add(guest, launcher.metadata.uid)
        await self._vmis.put(migration.prepared(vmi, self._address, dict(domain.guest.migration_ports)))
        await self._vmis.event(vmi, "PreparingTarget", "VirtualMachineInstance Migration Target Prepared.")

    async def _take_over(self, vmi: Document) -> None:
        domain = self._domains.get(vmi["metadata"]["uid"])
        if domain is None or not domain.guest.state.running:
            return
        now, guest = self._clock(), domain.guest
        mine = migration.cleaned(migration.arrived(vmi, self._node, now))
        info = await guest.info() if _has_agent(vmi) else None
        await self._vmis.put(vmistatus.reported(mine, GuestView(guest.state, guest.spec.address, info), now))
        await self._vmis.event(vmi, "Migrated", f"The VirtualMachineInstance migrated to node {self._node}.")

    async def _clean(self, vmi: Document) -> None:
        domain = self._domains.get(vmi["metadata"]["uid"])
        if domain is not None and migration.has_failed(vmi):
            await domain.guest.kill()
            self._domains.forget(domain)
        await self._vmis.put(migration.cleaned(vmi))

    async def _push(self, vmi: Document, domain: Domain) -> None:
        uid = vmi["metadata"]["uid"]
        if uid in self._sending or not domain.guest.state.running or self._group is None:
            return
        if "startTimestamp" in vmi["status"]["migrationState"]:
            await self._give_up(vmi, self._failures.pop(uid, "the source host was restarted"))
            return
        await self._vmis.put(migration.begun(vmi, self._clock()))
        await self._vmis.event(vmi, "Migrating", "VirtualMachineInstance is migrating.")
        self._sending[uid] = self._group.create_task(self._send(vmi, domain), name=f"migrate-{uid}")

    async def _send(self, vmi: Document, domain: Domain) -> None:
        state, uid = vmi["status"]["migrationState"], vmi["metadata"]["uid"]
        try:
            await domain.guest.migrate(
                state["targetNodeAddress"], state["targetDirectMigrationNodePorts"], state["migrationUid"]
            )
        except Transient as error:
            self._failures[uid] = error.message
        finally:
            del self._sending[uid]
            self._queue.add(domain.key)

    async def _abort(self, vmi: Document, domain: Domain) -> None:
        if (task := self._sending.get(vmi["metadata"]["uid"])) is not None:
            task.cancel()
            await asyncio.wait([task])
        if domain.guest.state.exit is not Exit.MIGRATED:
            await self._give_up(vmi, "Live migration aborted")

    async def _give_up(self, vmi: Document, reason: str) -> None:
        await self._vmis.put(migration.aborted(vmi, reason, self._clock()))
        uid = vmi["status"]["migrationState"]["migrationUid"]
        await self._vmis.event(
            vmi, "Migrated", f"VirtualMachineInstance migration uid {uid} failed. reason:{reason}", warning=True
        )


def _has_agent(vmi: Document) -> bool:
    return any(condition["type"] == "AgentConnected" for condition in vmi["status"].get("conditions", []))
