"""virt-handlers' metrics, from their Pods directly: https on the port that the Pod calls ``metrics``.

They ask nobody who he is (``SetupPromTLS`` in pkg/util/tls of KubeVirt: a client certificate is optional), so nothing
secret is sent. What they answer is believed: their certificate has to be of KubeVirt's own authority, and to have
virt-handler's name; the address is in none.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import ConfigMap
from kubelet_bridge.model.resources import CONFIGMAPS, KUBEVIRTS, PODS

SERVER_NAME = "kubevirt.io:system:node:virt-handler"
AUTHORITY = "kubevirt-ca"
_BUNDLE = "ca-bundle"
_PORT = 8443
_MOST_BYTES = 32 * 1024 * 1024
_SECONDS = 10.0


class _Meta(msgspec.Struct):
    namespace: str = ""


class _KubeVirt(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _KubeVirts(msgspec.Struct):
    items: list[_KubeVirt] = []


class _Port(msgspec.Struct, rename="camel"):
    container_port: int
    name: str = ""


class _Container(msgspec.Struct):
    ports: list[_Port] = []


class _Spec(msgspec.Struct):
    containers: list[_Container] = []


class _Status(msgspec.Struct):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")


class _Pod(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _Pods(msgspec.Struct):
    items: list[_Pod] = []


class VirtHandlers:
    """An async context manager. What was learned is kept until a request fails."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._namespace = ""
        self._addresses: dict[str, str] = {}
        self._tls: ssl.SSLContext | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=16, keepalive_timeout=60.0)
        self._http = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def scrape(self, node: str) -> bytes:
        """The metrics of the virt-handler on ``node``.

        Raises:
            ApiError: the API server does not tell where it is.
            Transient: there is none, it does not answer, or somebody else does.
        """
        address = self._addresses.get(node) or await self._find(node)
        tls = self._tls or await self._trust()
        try:
            return await self._get(node, f"https://{address}/metrics", tls)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Where it is, and by whom its certificate was made: both may have changed.
            self._addresses.pop(node, None)
            self._tls = None
            text = str(error) or type(error).__name__
            raise Transient(f"virt-handler on {node} ({address}): {text}", reason="VirtHandler") from error

    async def _get(self, node: str, url: str, tls: ssl.SSLContext) -> bytes:
        if self._http is None:
            raise RuntimeError("not entered")
        async with asyncio.timeout(_SECONDS), self._http.get(url, ssl=tls, allow_redirects=False) as response:
            if response.status != 200:
                raise Transient(f"virt-handler on {node} answers {response.status}", reason="VirtHandler")
            return await _body(response)

    async def _find(self, node: str) -> str:
        raw = await self._client.list(
            PODS, await self._kubevirt_namespace(), label_selector="kubevirt.io=virt-handler",
            field_selector=f"spec.nodeName={node}",
        )  # fmt: skip
        running = [one for one in msgspec.json.decode(raw, type=_Pods).items if one.status.phase == "Running"]
        if not running or not (ip := running[0].status.pod_ip):
            raise Transient(f"no virt-handler runs on {node}", reason="VirtHandler")
        named = [port for one in running[0].spec.containers for port in one.ports if port.name == "metrics"]
        port = named[0].container_port if named else _PORT
        self._addresses[node] = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        return self._addresses[node]

    async def _kubevirt_namespace(self) -> str:
        if not self._namespace:
            found = msgspec.json.decode(await self._client.list(KUBEVIRTS), type=_KubeVirts).items
            if not found:
                raise Transient("there is no KubeVirt", reason="KubeVirtUnavailable")
            self._namespace = found[0].metadata.namespace
        return self._namespace

    async def _trust(self) -> ssl.SSLContext:
        raw = await self._client.get(CONFIGMAPS, await self._kubevirt_namespace(), AUTHORITY)
        bundle = msgspec.json.decode(raw, type=ConfigMap).data.get(_BUNDLE, "")
        self._tls = await asyncio.to_thread(_context, bundle)
        return self._tls


class _OfVirtHandler(ssl.SSLObject):
    """The end of a connection that says nothing to anybody but a virt-handler."""

    def do_handshake(self) -> None:
        """As always, and then look at the name."""
        super().do_handshake()
        certificate: Mapping[str, Any] = self.getpeercert() or {}
        subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
        if subject.get("commonName") != SERVER_NAME:
            raise ssl.SSLCertVerificationError("the certificate is not a virt-handler's")


def _context(bundle: str) -> ssl.SSLContext:
    """Raises ``Transient`` when there is no authority to believe."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.sslobject_class = _OfVirtHandler
    try:
        context.load_verify_locations(cadata=bundle)
    except (ssl.SSLError, ValueError) as error:
        raise Transient(f"ConfigMap {AUTHORITY} holds no certificates: {error}", reason="VirtHandler") from error
    return context


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Raises ``Transient`` when it does not end."""
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > _MOST_BYTES:
            raise Transient("virt-handler's metrics are too many", reason="VirtHandler")
    return bytes(found)
