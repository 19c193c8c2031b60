"""virt-handler's metrics: whom we ask, and whom we believe."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from kubelet_bridge.errors import ApiUnavailable, BridgeError, NotFound, Transient
from kubelet_bridge.kube import virthandlers
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.virthandlers import SERVER_NAME, VirtHandlers
from kubelet_bridge.model.resources import KUBEVIRTS, PODS, Resource
from tests.support.authority import Authority

Json = dict[str, Any]


class Cluster:
    """An API server that knows of KubeVirt, and a host with something on virt-handler's port."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.authority = directory, Authority("kubevirt-ca")
        self.bundle = self.authority.pem.decode()
        self.kubevirts: list[Json] = [{"metadata": {"namespace": "kv"}}]
        self.phase, self.status, self.text = "Running", 200, "kubevirt_info 1\n"
        self.port = 0
        self.asked: list[str] = []
        self.seen: list[str | None] = []
        self.down: BridgeError | None = None

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> bytes:
        if self.down is not None:
            raise self.down
        self.asked.append(resource.plural)
        if resource is KUBEVIRTS:
            return msgspec.json.encode({"items": self.kubevirts})
        assert (resource, namespace, label_selector) == (PODS, "kv", "kubevirt.io=virt-handler")
        ports = [{"containerPort": 8186, "name": "other"}, {"containerPort": self.port, "name": "metrics"}]
        pod = {"spec": {"containers": [{"ports": ports}]}, "status": {"phase": self.phase, "podIP": "127.0.0.1"}}
        return msgspec.json.encode({"items": [pod] if field_selector == "spec.nodeName=host" else []})

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        self.asked.append(resource.plural)
        if not self.bundle:
            raise NotFound(404, "NotFound", "no such ConfigMap")
        assert (namespace, name) == ("kv", "kubevirt-ca")
        return msgspec.json.encode({"data": {"ca-bundle": self.bundle}})

    @asynccontextmanager
    async def serving(self, name: str = SERVER_NAME, authority: Authority | None = None) -> AsyncIterator[VirtHandlers]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(authority or self.authority).serving(self.directory, "192.0.2.1", name=name))
        application = web.Application()
        application.add_routes([web.get("/metrics", self._answer)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context)
            await site.start()
            self.port = runner.addresses[0][1]
            async with VirtHandlers(cast("Client", self)) as handlers:
                yield handlers
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers.get("Authorization"))
        return web.Response(status=self.status, text=self.text)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


async def test_it_is_asked_without_credentials_and_found_once(cluster: Cluster) -> None:
    async with cluster.serving() as handlers:
        assert [await handlers.scrape("host") for _ in range(2)] == [b"kubevirt_info 1\n"] * 2
    assert cluster.asked == ["kubevirts", "pods", "configmaps"]
    assert cluster.seen == [None, None]


async def test_another_name_is_not_believed(cluster: Cluster) -> None:
    async with cluster.serving("kubevirt.io:system:client:virt-handler") as handlers:
        with pytest.raises(Transient, match="not a virt-handler's"):
            await handlers.scrape("host")
    assert cluster.seen == []


async def test_another_authority_is_not_believed(cluster: Cluster) -> None:
    async with cluster.serving(authority=Authority("kubevirt-ca")) as handlers:
        with pytest.raises(Transient, match="virt-handler on host"):
            await handlers.scrape("host")
    assert cluster.seen == []


async def test_a_new_authority_is_learned(cluster: Cluster) -> None:
    renewed = Authority("kubevirt-ca-2")
    async with cluster.serving(authority=renewed) as handlers:
        with pytest.raises(Transient):
            await handlers.scrape("host")
        cluster.bundle += renewed.pem.decode()
        assert await handlers.scrape("host")


def _no_kubevirt(cluster: Cluster) -> None:
    cluster.kubevirts = []


def _no_bundle(cluster: Cluster) -> None:
    cluster.bundle = ""


def _no_certificates(cluster: Cluster) -> None:
    cluster.bundle = "none"


def _not_running(cluster: Cluster) -> None:
    cluster.phase = "Pending"


def _busy(cluster: Cluster) -> None:
    cluster.status = 503


def _unreachable(cluster: Cluster) -> None:
    cluster.down = ApiUnavailable(0, "Unreachable", "down")


@pytest.mark.parametrize("break_", [_no_kubevirt, _no_bundle, _no_certificates, _not_running, _busy, _unreachable])
async def test_what_is_missing_is_an_error_to_try_again(cluster: Cluster, break_: Callable[[Cluster], None]) -> None:
    async with cluster.serving() as handlers:
        break_(cluster)
        with pytest.raises(BridgeError):
            await handlers.scrape("host")


async def test_another_host_has_none(cluster: Cluster) -> None:
    async with cluster.serving() as handlers:
        with pytest.raises(Transient, match="no virt-handler runs on elsewhere"):
            await handlers.scrape("elsewhere")


async def test_an_answer_without_end_is_cut_off(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virthandlers, "_MOST_BYTES", 1000)
    cluster.text = "x" * 100_000
    async with cluster.serving() as handlers:
        with pytest.raises(Transient, match="too many"):
            await handlers.scrape("host")


async def test_nobody_listens(cluster: Cluster) -> None:
    async with cluster.serving():
        pass
    async with VirtHandlers(cast("Client", cluster)) as handlers:
        with pytest.raises(Transient, match="virt-handler on host"):
            await handlers.scrape("host")
