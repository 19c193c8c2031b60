"""The heartbeat: a Lease in kube-node-lease, renewed every 10 s and good for 40.

As component-helpers/apimachinery/lease does it for the kubelet: without a GET while nobody else writes the Lease.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubelet_bridge.model.meta import OwnerReference
from kubelet_bridge.model.resources import LEASES, NODES
from kubelet_bridge.node.ports import Clock, LeaseApi, utc_now

log = structlog.get_logger(__name__)

NAMESPACE = "kube-node-lease"
DURATION = 40
INTERVAL = 10.0
_JITTER = 0.04

Json = dict[str, Any]


class NodeLease:
    """Renews the Lease of ``node`` for ever.

    Attributes:
        renewed_at: event loop time of the last success.
    """

    def __init__(
        self, api: LeaseApi, node: str, *, node_uid: Callable[[], str] = str, clock: Clock = utc_now,
        interval: float = INTERVAL,
    ) -> None:  # fmt: skip
        """``node_uid`` tells the uid of the Node, with which the Lease is to go; empty while unknown."""
        self.renewed_at: float | None = None
        self._node_uid = node_uid
        self._api = api
        self._node = node
        self._clock = clock
        self._interval = interval
        self._last: Json | None = None

    async def run(self) -> None:
        """Renew; errors are tried again sooner, and never end it."""
        backoff = Backoff(base=0.2, cap=self._interval * 0.7)
        while True:
            try:
                async with asyncio.timeout(self._interval):  # a request that hangs must not cost the Lease
                    await self.renew()
            except (ApiError, TimeoutError) as error:
                delay = backoff.next()
                what = str(error) or "no answer in time"
                log.warning("the node lease could not be renewed", error=what, retry_in=round(delay, 1))
            else:
                backoff.reset()
                delay = self._interval * (1 + random.random() * _JITTER)  # noqa: S311 - spreading, not secrecy
            await asyncio.sleep(delay)

    async def renew(self) -> None:
        """Renew once, creating or taking over the Lease where that is needed.

        Raises:
            ApiError: it could not be done.
        """
        if self._last is not None:
            try:
                await self._write(self._last)
            except (Conflict, NotFound):
                self._last = None
        if self._last is None:
            await self._take()
        self.renewed_at = asyncio.get_running_loop().time()

    async def _take(self) -> None:
        try:
            found: Json = msgspec.json.decode(await self._api.get_lease())
        except NotFound:
            try:
                self._last = msgspec.json.decode(await self._api.create_lease(self._renewed({})))
            except AlreadyExists:
                await self._write(msgspec.json.decode(await self._api.get_lease()))
        else:
            await self._write(found)

    async def _write(self, lease: Json) -> None:
        self._last = msgspec.json.decode(await self._api.replace_lease(self._renewed(lease)))

    def _renewed(self, lease: Json) -> Json:
        """``lease`` as it was, with our name and the time in it."""
        metadata: Json = {**lease.get("metadata", {}), "name": self._node, "namespace": NAMESPACE}
        if uid := self._node_uid():
            metadata["ownerReferences"] = [OwnerReference(NODES.api_version, NODES.kind, name=self._node, uid=uid)]
        spec: Json = {
            **lease.get("spec", {}),
            "holderIdentity": self._node,
            "leaseDurationSeconds": DURATION,
            "renewTime": micro_time(self._clock()),
        }
        return {**lease, "apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def micro_time(moment: datetime) -> str:
    """A metav1.MicroTime: Go refuses one that has not exactly six digits after the point."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
