"""The Secret with this node's guest authority: read, or made when there is none."""

import asyncio
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.errors import AlreadyExists, NotFound
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, LABEL_NODE, MANAGED_BY, label_value
from kubelet_bridge.model.resources import SECRETS

log = structlog.get_logger(__name__)


class _Secret(msgspec.Struct):
    data: dict[str, str] = {}


def secret_name(node: str) -> str:
    """Of the Secret of one node."""
    return f"kubelet-bridge-guest-{node}"[:253].rstrip("-.")


async def authority(client: Client, namespace: str, node: str, *, now: datetime) -> Authority:
    """The node's authority.

    Raises:
        Transient: the API server does not answer.
        ApiError: we may not read or create it.
        Terminal: it is there and cannot be understood. It is never written over.
    """
    name = secret_name(node)
    try:
        return await _read(client, namespace, name)
    except NotFound:
        made = await asyncio.to_thread(Authority.create, node, now=now)
    labels = {LABEL_NODE: label_value(node), LABEL_MANAGED_BY: MANAGED_BY}
    body = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubelet-bridge.io/guest-authority",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "data": made.to_secret(),
    }  # fmt: skip
    try:
        await client.create(SECRETS, namespace, body)
    except AlreadyExists:  # another bridge of this node was quicker: its word counts
        return await _read(client, namespace, name)
    log.info("the guests' authority was made", object=f"{namespace}/{name}")
    return made


async def _read(client: Client, namespace: str, name: str) -> Authority:
    found = msgspec.json.decode(await client.get(SECRETS, namespace, name), type=_Secret)
    return await asyncio.to_thread(Authority.from_secret, found.data, name=f"{namespace}/{name}")
