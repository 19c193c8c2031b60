"""Asking etcd itself, through the JSON gateway on its client port (etcd's documentation: api_grpc_gateway)."""

import asyncio

import aiohttp
import msgspec

from kubelet_bridge.devcluster.component import tls_context
from kubelet_bridge.devcluster.controlplane import etcd_health
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.errors import Transient


class _Header(msgspec.Struct):
    revision: str


class _Answer(msgspec.Struct):
    header: _Header


async def compact(layout: Layout, state: ClusterState) -> int:
    """Forget every revision but the current one, which is returned.

    Raises:
        Transient: etcd does not answer.
    """
    tls = await asyncio.to_thread(tls_context, etcd_health(layout, state))
    try:
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{state.ports.etcd}", connector=aiohttp.TCPConnector(ssl=tls or True)
        ) as http:
            status = msgspec.json.decode(await _post(http, "/v3/maintenance/status", {}), type=_Answer)
            await _post(http, "/v3/kv/compaction", {"revision": status.header.revision, "physical": True})
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"etcd: {error}") from error
    return int(status.header.revision)


async def _post(http: aiohttp.ClientSession, path: str, body: dict[str, str | bool]) -> bytes:
    async with http.post(path, data=msgspec.json.encode(body)) as response:
        response.raise_for_status()
        return await response.read()
