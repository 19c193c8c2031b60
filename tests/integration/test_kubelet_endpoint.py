"""The kubelet API behind a real API server: its client certificate, its reviews, its signer."""

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.certificates import ServingSigner, client_authority
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.nodes import NodeObjects
from kubelet_bridge.kube.reviews import Reviews
from kubelet_bridge.kubelet_api import health, pods
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.signing import SignedCertificate
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.resources import (
    CERTIFICATESIGNINGREQUESTS,
    NODES,
)
from kubelet_bridge.node.identity import NodeIdentity
from kubelet_bridge.node.ports import ReadyState
from kubelet_bridge.node.registration import Registration
from tests.support import unplugged
from tests.support.bridge import decoded, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(90)]


@dataclass
class Endpoint:
    """A registered Node whose kubelet API is served, and nothing else of a daemon."""

    name: str
    address: str
    port: int
    admin: Client
    cluster: DevCluster
    certificate: SignedCertificate

    async def proxied(self, path: str, method: str = "GET") -> bytes:
        """Through the API server, as ``kubectl get --raw`` does it."""
        return await self.admin.request(method, f"/api/v1/nodes/{self.name}/proxy{path}")

    async def approve(self) -> None:
        """What an administrator does with ``kubectl certificate approve``."""

        async def request() -> Any:
            found = decoded(await self.admin.list(CERTIFICATESIGNINGREQUESTS))["items"]
            return next((one for one in found if self.name in one["metadata"]["name"]), None)

        asked = await eventually(request, "a certificate signing request")
        condition = {"type": "Approved", "status": "True", "reason": "ByTest", "message": "approved by a test"}
        asked["status"] = {"conditions": [condition]}
        name = asked["metadata"]["name"]
        await self.admin.replace(CERTIFICATESIGNINGREQUESTS, None, name, asked, subresource="approval")


@pytest.fixture
async def endpoint(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Endpoint]:
    name, address = f"api-{uuid.uuid4().hex[:8]}", dev_cluster.state.node_address
    async with dev_cluster.client("bridge") as client:
        reviews = Reviews(client, name)
        certificate = SignedCertificate(
            tmp_path, name, lambda: [address], ServingSigner(client), poll=Backoff(base=0.1, cap=0.3)
        )
        tls = Tls(certificate, ClientCa(lambda: client_authority(client)))
        server = KubeletServer(
            address,
            0,
            tls=tls.current,
            routes=[
                *health.routes("/healthz", {"ping": lambda: None}),
                *pods.routes(lambda: [b'{"metadata":{"name":"a"}}'], list),
                *unplugged.routes(),
            ],
            authenticator=Authenticator(reviews.token),
            authorizer=Authorizer(reviews.access),
        )
        async with tls, server:
            registration = Registration(
                NodeObjects(client, name),
                NodeIdentity(name=name),
                status=lambda now: status(now, address, server.port),
                ready=lambda: ReadyState(ready=True, reason="KubeletReady", message=""),
            )
            await registration.sync()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(server.run()), group.create_task(tls.run())]
                yield Endpoint(name, address, server.port, admin, dev_cluster, certificate)
                for task in tasks:
                    task.cancel()
    await admin.delete(NODES, None, name)


def status(_now: datetime, address: str, port: int) -> dict[str, Any]:
    return {
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "capacity": {"cpu": "1", "memory": "1Gi", "pods": "1"},
    }


async def test_the_api_server_is_let_in_by_its_certificate(endpoint: Endpoint) -> None:
    assert await endpoint.proxied("/healthz") == b"ok"
    assert decoded(await endpoint.proxied("/pods"))["items"] == [{"metadata": {"name": "a"}}]
    assert decoded(await endpoint.proxied("/runningpods/"))["kind"] == "PodList"
    with pytest.raises(NotFound):
        await endpoint.proxied("/nothing")


async def test_a_user_without_the_right_to_proxy_is_stopped_by_the_api_server(endpoint: Endpoint) -> None:
    whom = {"Impersonate-User": "nobody-in-particular"}
    with pytest.raises(Forbidden):
        await endpoint.admin.request("GET", f"/api/v1/nodes/{endpoint.name}/proxy/pods", headers=whom)


async def test_the_cluster_signs_our_certificate_once_somebody_approves(endpoint: Endpoint) -> None:
    assert endpoint.certificate.pair.certificate.name == "kubelet-self-signed.pem"
    await endpoint.approve()

    async def signed() -> bool:
        return endpoint.certificate.pair.certificate.name == "kubelet-serving.pem"

    await eventually(signed, "a signed certificate")
    authority = await client_authority(endpoint.admin)
    trusting = ssl.create_default_context(cadata=authority.decode())
    trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT

    async def trusted() -> bool:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
            try:
                async with http.get(f"https://{endpoint.address}:{endpoint.port}/healthz") as response:
                    return response.status == 401
            except aiohttp.ClientConnectorCertificateError:
                return False

    await eventually(trusted, "the signed certificate served")
    assert await endpoint.proxied("/healthz") == b"ok"
