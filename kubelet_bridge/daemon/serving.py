"""The kubelet API and the admin port, plugged into what they serve."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from aiohttp import web

from kubelet_bridge.aio import files
from kubelet_bridge.daemon.kubeletconfig import configuration
from kubelet_bridge.kube.certificates import ServingSigner, client_authority
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.reviews import Reviews
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kubelet_api import configz, disabled, exposition, health, pods
from kubelet_bridge.kubelet_api.admin import AdminServer
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import FileCertificate, KeyPair, SelfSignedCertificate, ServingCertificate
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.health import Check
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.signing import SignedCertificate
from kubelet_bridge.kubelet_api.stats import routes as stats
from kubelet_bridge.kubelet_api.stats.routes import Freeze
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.settings import Settings, address
from kubelet_bridge.telemetry.metrics import Metrics


def serving_certificate(
    settings: Settings, client: Client, addresses: Callable[[], Iterable[str]]
) -> ServingCertificate:
    """What the settings ask for: files, the cluster's signature, or our own."""
    if settings.tls_cert_file:
        return FileCertificate(KeyPair(Path(settings.tls_cert_file), Path(settings.tls_key_file)))
    directory = Path(settings.state_dir)
    if settings.request_certificate:
        signer = ServingSigner(client, approve=settings.approve_certificate)
        return SignedCertificate(directory, settings.node_name, addresses, signer)
    return SelfSignedCertificate(directory, settings.node_name, addresses)


def tls(settings: Settings, client: Client, addresses: Callable[[], Iterable[str]]) -> Tls:
    """TLS for the kubelet API: our certificate, and whose client certificates are believed."""

    async def authority() -> bytes:
        if settings.client_ca_file:
            return await files.read(Path(settings.client_ca_file))
        return await client_authority(client)

    return Tls(serving_certificate(settings, client, addresses), ClientCa(authority))


def kubelet_server(
    settings: Settings, client: Client, view: NodeView, metrics: Metrics, secure: Tls, checks: Mapping[str, Check],
    maximum_pods: Callable[[], int], usage: Freeze, more: Iterable[web.AbstractRouteDef],
) -> KubeletServer:  # fmt: skip
    """The kubelet API; ``more`` are the routes that reach into guests."""
    reviews = Reviews(client, settings.node_name)
    host, port = address("listen", settings.listen)
    server = KubeletServer(
        host, port, tls=secure.current,
        routes=[
            *health.routes("/healthz", checks), *pods.routes(lambda: assigned(view), lambda: running(view)),
            *exposition.routes("/metrics", metrics.scrape), *stats.routes(usage, checks), *more,
            *configz.routes(lambda: configuration(settings, port=server.port, pods=maximum_pods())),
            *disabled.routes(),
        ],
        authenticator=Authenticator(reviews.token), authorizer=Authorizer(reviews.access),
        observe=metrics.observe_served, observe_session=metrics.observe_session,
    )  # fmt: skip
    secure.on_new_authority(server.close_idle)
    return server


def admin_server(settings: Settings, metrics: Metrics, ready: Mapping[str, Check]) -> AdminServer:
    """Metrics and health for whoever runs the process."""
    host, port = address("admin_listen", settings.admin_listen)
    live = {"ping": lambda: None, "loop": lambda: None if asyncio.get_running_loop().is_running() else "stopped"}
    checks = [*health.routes("/livez", live), *health.routes("/readyz", ready)]
    return AdminServer(host, port, [*checks, *exposition.routes("/metrics", metrics.scrape)])


class _Marks(msgspec.Struct, rename="camel"):
    deletion_timestamp: str | None = None


def assigned(view: NodeView) -> list[bytes]:
    """Every Pod of this node, as the API server wrote it."""
    return [one.raw for one in view.pods.all()]


def running(view: NodeView) -> list[bytes]:
    """The Pods that have an instance, those included that are being stopped: what a runtime would still show."""
    return [one.raw for one in view.pods.all() if view.vmis.by_index("pod-uid", one.head.uid)]
