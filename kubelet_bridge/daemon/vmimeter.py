"""Usage of the VMs that no agent tells of: what KubeVirt measures on the nodes where they run (ADR 10)."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
import structlog

from kubelet_bridge.aio.tasks import every
from kubelet_bridge.errors import BridgeError
from kubelet_bridge.guest.ports import RecordUsage
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kube.virthandlers import VirtHandlers
from kubelet_bridge.model.meta import LABEL_CONTAINER, PodKey, machine_key
from kubelet_bridge.translate import vmimetrics

log = structlog.get_logger(__name__)

LABEL_HOST = "kubevirt.io/nodeName"
"""On an instance that was handed to a virt-handler: its node's name."""
_AT_ONCE = 8
_PATIENCE = 4


class Target(msgspec.Struct, frozen=True):
    """An instance whose figures are wanted."""

    key: PodKey
    namespace: str
    name: str
    uid: str


class VmiMeter:
    """Asks only the nodes that have such VMs, and nobody when there are none."""

    def __init__(
        self, client: Client, view: NodeView, *, told: Callable[[str], bool], record: RecordUsage, interval: float
    ) -> None:
        """``told`` says whether an agent has lately told of a machine uid; an ``interval`` of 0: never ask."""
        self._client, self._view, self._told, self._record, self._interval = client, view, told, record, interval
        self._silent: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        if not self._interval:
            await asyncio.Event().wait()
        await self._view.wait_synced()
        await asyncio.sleep(_PATIENCE * self._interval)  # agents of before come back, and tell more
        async with VirtHandlers(self._client) as handlers:
            await every(self._interval, lambda: self._round(handlers), jitter=0.05)

    async def _round(self, handlers: VirtHandlers) -> None:
        wanted = self.targets(self._view.vmis.all())
        self._silent = {node: why for node, why in self._silent.items() if node in wanted}
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(node: str, targets: list[Target]) -> None:
            async with turns:
                await self._ask(handlers, node, targets)

        async with asyncio.TaskGroup() as group:
            for node, targets in wanted.items():
                group.create_task(one(node, targets), name=f"usage of VMs on {node}")

    def targets(self, vmis: Iterable[Cached]) -> dict[str, list[Target]]:
        """By node, the instances that no agent tells of."""
        found: defaultdict[str, list[Target]] = defaultdict(list)
        for one in vmis:
            node, head = one.head.labels.get(LABEL_HOST), one.head
            key = self._view.key_of(head) if node else None
            if node is None or key is None:
                continue
            if container := head.labels.get(LABEL_CONTAINER):
                key = machine_key(key, container)
            if not self._told(key.uid):
                found[node].append(Target(key, head.namespace, head.name, head.uid))
        return dict(found)

    async def _ask(self, handlers: VirtHandlers, node: str, targets: list[Target]) -> None:
        names = {(one.namespace, one.name) for one in targets}
        try:
            text = await handlers.scrape(node)
        except (BridgeError, msgspec.MsgspecError) as error:
            if self._silent.get(node) != str(error):
                self._silent[node] = str(error)
                log.warning("no figures of VMs without an agent", node=node, vms=len(targets), error=str(error))
            return
        self._silent.pop(node, None)
        now = time.time_ns()
        readings = await asyncio.to_thread(vmimetrics.read, text, names)
        for one in targets:
            reading = readings.get((one.namespace, one.name))
            if reading is not None and not self._told(one.key.uid):
                self._record(one.key, reading.sample(at=now, instance=one.uid, node=node))
