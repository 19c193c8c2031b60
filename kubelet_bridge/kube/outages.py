"""Makes the node's Pods sit out an absence of the bridge, where no admission policy does."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from kubelet_bridge.errors import ApiError
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.known import patch_known
from kubelet_bridge.model.resources import PODS
from kubelet_bridge.translate.outage import lasting

log = structlog.get_logger(__name__)

INDEX = "evicted in an outage"
_YES = "yes"
_AT_ONCE = 8


class _Spec(msgspec.Struct, frozen=True):
    tolerations: list[dict[str, Any]] = []


class _Pod(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def by_outage(cached: Cached) -> Iterable[str]:
    """The indexer for ``INDEX``: the Pods that are to be changed."""
    if cached.head.metadata.deletion_timestamp is not None:
        return ()
    return (_YES,) if _wanted(cached) is not None else ()


def _wanted(cached: Cached) -> list[dict[str, Any]] | None:
    return lasting(msgspec.json.decode(cached.raw, type=_Pod).spec.tolerations)


class OutageTolerations:
    """One per node; ``pods`` is an informer with ``by_outage``."""

    def __init__(self, client: Client, pods: Informer) -> None:
        self._client, self._pods = client, pods
        self._told: set[str] = set()

    async def mend(self) -> None:
        """Change every Pod that there is to change; one that cannot be now is left for the next time."""
        turns, found = asyncio.Semaphore(_AT_ONCE), self._pods.by_index(INDEX, _YES)
        self._told &= {cached.head.uid for cached in found}
        async with asyncio.TaskGroup() as group:
            for cached in found:
                group.create_task(self._mend(cached, turns), name=f"tolerations of {cached.head.name}")

    async def _mend(self, cached: Cached, turns: asyncio.Semaphore) -> None:
        head = cached.head
        known = {"uid": head.uid, "resourceVersion": head.metadata.resource_version}
        body = {"metadata": known, "spec": {"tolerations": _wanted(cached)}}
        async with turns:
            try:
                raw = await patch_known(self._client, PODS, head.namespace, head.name, body)
            except ApiError as error:
                if head.uid not in self._told:  # it is tried again every few seconds
                    self._told.add(head.uid)
                    log.warning("a Pod may be evicted while this bridge is away", pod=head.name, error=str(error))
                return
        if raw is not None:
            self._pods.learn(raw)
