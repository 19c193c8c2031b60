"""Keeps the host's Node, Lease and virt-handler Pod there and fresh."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.devcluster.devhost import nodeobject
from kubelet_bridge.devcluster.devhost.nodeobject import NodeFacts
from kubelet_bridge.errors import AlreadyExists, ApiError, NotFound
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.core import Node
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.model.resources import LEASES, NODES, PODS

log = structlog.get_logger(__name__)

_LEASE_INTERVAL = 10.0
_HEARTBEAT_EVERY = 6
"""In Leases: virt-handler's is a minute."""


def node_headers(name: str) -> dict[str, str]:
    """Impersonation of the node ``name``: the node authorizer and NodeRestriction then hold for us as for a kubelet."""
    return {"Impersonate-User": f"system:node:{name}", "Impersonate-Group": "system:nodes"}


class NodeAgent:
    """One Node. ``unschedulable`` says whether it is to be cordoned."""

    def __init__(
        self, client: Client, facts: NodeFacts, handler_image: str, unschedulable: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._client = client
        self._facts = facts
        self._handler_image = handler_image
        self._headers = node_headers(facts.name)
        self._unschedulable = unschedulable
        self._clock = clock
        self._cordoned = False

    async def join(self) -> None:
        """Create the Node or take over the one that is there, its Lease and virt-handler's Pod; try until done."""
        backoff = Backoff(base=0.5, cap=_LEASE_INTERVAL)
        self._cordoned = False
        while True:
            try:
                await self._register()
            except ApiError as error:
                log.warning("node not registered", node=self._facts.name, error=str(error))
                await asyncio.sleep(backoff.next())
            else:
                log.info("node registered", node=self._facts.name, address=self._facts.address)
                return

    async def run(self) -> None:
        """Renew the Lease every ten seconds, beat every minute, cordon when asked, for ever.

        After an outage the controller manager makes the Node's conditions Unknown; only its kubelet takes that back.
        """
        backoff, beats = Backoff(base=0.5, cap=_LEASE_INTERVAL), 0
        while True:
            try:
                await self.follow_faults()
                await self._renew()
                beats += 1
                if beats % _HEARTBEAT_EVERY == 0 or not await self._is_ready():
                    await self._refresh()
                backoff.reset()
                await asyncio.sleep(_LEASE_INTERVAL)
            except NotFound:
                log.warning("somebody deleted the node or its lease", node=self._facts.name)
                await self.join()
            except ApiError as error:
                log.warning("node not refreshed", node=self._facts.name, error=str(error))
                await asyncio.sleep(backoff.next())

    async def _register(self) -> None:
        node = nodeobject.node(self._facts, self._clock())
        try:
            raw = await self._client.create(NODES, None, node, headers=self._headers)
        except AlreadyExists:
            raw = await self._refresh()
        await self._create_lease(msgspec.json.decode(raw, type=ObjectHead).uid)
        await self._create_handler_pod()

    async def _refresh(self) -> bytes:
        name, now = self._facts.name, self._clock()
        labelled = {"metadata": {"labels": nodeobject.labels(name)}}
        await self._client.patch(NODES, None, name, labelled, kind=PatchType.MERGE)
        await self._beat()
        body = {"status": nodeobject.status(self._facts, now)}
        return await self._client.patch(
            NODES, None, name, body, kind=PatchType.STRATEGIC, subresource="status", headers=self._headers
        )

    async def _is_ready(self) -> bool:
        node = msgspec.json.decode(await self._client.get(NODES, None, self._facts.name), type=Node)
        return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)

    async def _beat(self) -> None:
        await self._client.patch(
            NODES, None, self._facts.name, nodeobject.heartbeat(self._clock()), kind=PatchType.MERGE
        )

    async def _create_lease(self, node_uid: str) -> None:
        lease = nodeobject.lease(self._facts.name, node_uid, self._clock())
        try:
            await self._client.create(LEASES, nodeobject.LEASE_NAMESPACE, lease, headers=self._headers)
        except AlreadyExists:
            await self._renew()

    async def _renew(self) -> None:
        """Raises ``NotFound`` soon after the Node was deleted: it owns the Lease."""
        body = {"spec": nodeobject.renewal(self._clock())}
        await self._client.patch(
            LEASES, nodeobject.LEASE_NAMESPACE, self._facts.name, body, kind=PatchType.MERGE, headers=self._headers
        )

    async def follow_faults(self) -> None:
        """Cordon the Node, or undo that, as ``unschedulable`` says; a cordon that somebody else set is theirs."""
        wanted = self._unschedulable()
        if wanted == self._cordoned:
            return
        body = {"spec": {"unschedulable": wanted or None}}
        await self._client.patch(NODES, None, self._facts.name, body, kind=PatchType.MERGE)
        self._cordoned = wanted

    async def _create_handler_pod(self) -> None:
        pod = nodeobject.handler_pod(self._facts.name, self._handler_image, self._facts.metrics_port)
        try:
            await self._client.create(PODS, pod["metadata"]["namespace"], pod)
        except AlreadyExists:
            log.debug("virt-handler pod is there", node=self._facts.name)
