"""Reads and writes VirtualMachineInstances as virt-handler on one node does, and posts its events."""

from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.devcluster.devhost.vmistatus import Document, timestamp
from kubelet_bridge.errors import ApiError
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.kubevirt import VmiPhase
from kubelet_bridge.model.resources import EVENTS, VIRTUALMACHINEINSTANCES

log = structlog.get_logger(__name__)

_ACCOUNT = "system:serviceaccount:kubevirt:kubevirt-handler"


def handler_headers(node: str) -> dict[str, str]:
    """Impersonation of virt-handler on ``node``.

    Its token says which node it runs on, and KubeVirt's webhook lets it write only the VirtualMachineInstances of that
    node (vmi-update-admitter.go).
    """
    return {
        "Impersonate-User": _ACCOUNT,
        "Impersonate-Group": "system:serviceaccounts",
        "Impersonate-Extra-authentication.kubernetes.io%2Fnode-name": node,
    }


class _List(msgspec.Struct):
    items: list[Document] = []


class VmiClient:
    """The VirtualMachineInstances of one node: those it owns, and those that migrate to it."""

    def __init__(self, client: Client, node: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._headers = handler_headers(node)
        self._written: dict[str, int] = {}
        self.owned = self._informer(f"kubevirt.io/nodeName={node}")
        self.incoming = self._informer(f"kubevirt.io/migrationTargetNodeName={node}")
        self.owned.subscribe(self._dropped)

    def cached(self, namespace: str, name: str) -> Document | None:
        """The newest version that was seen; None when neither cache has it."""
        found = [cached for informer in (self.owned, self.incoming) if (cached := informer.get(namespace, name))]
        return msgspec.json.decode(max(found, key=_version).raw) if found else None

    def unfinished(self) -> dict[str, tuple[str, str]]:
        """Those that have not ended, as far as the caches know: namespace and name by uid."""
        every = (msgspec.json.decode(cached.raw) for part in (self.owned, self.incoming) for cached in part.all())
        return {
            vmi["metadata"]["uid"]: (vmi["metadata"]["namespace"], vmi["metadata"]["name"])
            for vmi in every
            if not VmiPhase(vmi["status"].get("phase", "")).final
        }

    def is_stale(self, vmi: Document) -> bool:
        """Whether we have written a newer version than this one: its event is still on the way."""
        return int(vmi["metadata"]["resourceVersion"]) < self._written.get(vmi["metadata"]["uid"], 0)

    async def find(self, namespace: str, name: str) -> Document | None:
        """As it is now, whoever's it is; None when there is none. A list, for virt-handler has no right to ``get``."""
        raw = await self._client.list(
            VIRTUALMACHINEINSTANCES, namespace, field_selector=f"metadata.name={name}", headers=self._headers
        )
        return next(iter(msgspec.json.decode(raw, type=_List).items), None)

    async def put(self, vmi: Document) -> None:
        """Write ``vmi`` back; there is no status subresource.

        Raises:
            Conflict: somebody was faster.
        """
        meta = vmi["metadata"]
        raw = await self._client.replace(
            VIRTUALMACHINEINSTANCES, meta["namespace"], meta["name"], vmi, headers=self._headers
        )
        written = msgspec.json.decode(raw)
        self._written[meta["uid"]] = int(written["metadata"]["resourceVersion"])

    async def event(self, vmi: Document, reason: str, message: str, *, warning: bool = False) -> None:
        """Post an event about ``vmi``; one that is lost is only logged, as by every component."""
        meta, now = vmi["metadata"], timestamp(self._clock())
        reference = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}
        reference |= {key: meta[key] for key in ("namespace", "name", "uid")}
        event = {
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "involvedObject": reference, "reason": reason, "message": message, "count": 1,
            "type": "Warning" if warning else "Normal", "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "virt-handler", "host": self._node},
        }  # fmt: skip
        try:
            await self._client.create(EVENTS, meta["namespace"], event, headers=self._headers)
        except ApiError as error:
            log.warning("event lost", reason=reason, vmi=meta["name"], error=str(error))

    def _dropped(self, kind: EventKind, cached: Cached) -> None:
        if kind is EventKind.DELETED:
            self._written.pop(cached.head.uid, None)

    def _informer(self, selector: str) -> Informer:
        return Informer(self._client, VIRTUALMACHINEINSTANCES, label_selector=selector, headers=self._headers)


def _version(cached: Cached) -> int:
    return int(cached.head.metadata.resource_version)
