"""The guests' authority in a real cluster's Secret."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from kubelet_bridge.daemon.guestsecret import authority, secret_name
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.errors import Forbidden, Terminal
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import NAMESPACES, SECRETS

NOW = datetime.now(UTC)


@pytest.fixture
async def namespace(admin: Client) -> AsyncIterator[str]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await admin.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await admin.delete(NAMESPACES, None, name)


async def test_it_is_made_once_and_kept(admin: Client, namespace: str) -> None:
    first, second = await asyncio.gather(*(authority(admin, namespace, "node-1", now=NOW) for _ in range(2)))
    assert first == second == await authority(admin, namespace, "node-1", now=NOW)
    assert await authority(admin, namespace, "node-2", now=NOW) != first


async def test_a_secret_that_cannot_be_understood_is_left_alone(admin: Client, namespace: str) -> None:
    await authority(admin, namespace, "node-1", now=NOW)
    name = secret_name("node-1")
    spoilt = {"data": {"ca.crt": base64.b64encode(b"something else").decode()}}
    await admin.patch(SECRETS, namespace, name, spoilt, kind=PatchType.MERGE)
    before = await admin.get(SECRETS, namespace, name)
    with pytest.raises(Terminal, match=f"{namespace}/{name}"):
        await authority(admin, namespace, "node-1", now=NOW)
    after = await admin.get(SECRETS, namespace, name)
    versions = [msgspec.json.decode(one)["metadata"]["resourceVersion"] for one in (before, after)]
    assert versions[0] == versions[1]


async def test_without_the_right_it_says_so(dev_cluster: DevCluster, namespace: str) -> None:
    async with dev_cluster.client("scheduler") as stranger:
        with pytest.raises(Forbidden):
            await authority(stranger, namespace, "node-1", now=NOW)
