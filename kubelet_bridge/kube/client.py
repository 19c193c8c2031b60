"""Requests to the API server as raw JSON bytes, on one session. It knows URLs and errors, and no kind's meaning."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from kubelet_bridge import __version__
from kubelet_bridge.errors import ApiError, ApiUnavailable, api_error
from kubelet_bridge.kube.credentials import Credentials
from kubelet_bridge.model.meta import FIELD_MANAGER
from kubelet_bridge.model.resources import Resource

_ENCODER = msgspec.json.Encoder()
_APPLY = "application/apply-patch+yaml"
_ACCEPT = "application/json, */*"
"""As client-go sends it: some subresources (KubeVirt's ``stop``) answer with nothing, and 406 to JSON alone."""
_LONGEST_WAIT = 60.0
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""tcp(7): a peer that is gone without a word is noticed after 30 s (the last one in milliseconds)."""


class PatchType(StrEnum):
    """Content types of PATCH (server-side apply has a verb of its own)."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"


class _StatusDetails(msgspec.Struct, rename="camel"):
    retry_after_seconds: int | None = None


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""
    details: _StatusDetails | None = None


Observer = Callable[[str, str, int, float], None]
"""Told of each request: verb, resource, HTTP status (0: no answer), seconds."""


def status_error(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error in a response of ``status`` >= 300; ``body`` may be a metav1.Status or a proxy's plain text.

    ``retry_after`` is the header, in seconds (API priority and fairness sends only that); the body's details go first.
    """
    try:
        parsed = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        parsed = _Status(message=body[:500].decode(errors="replace").strip())
    seconds = parsed.details.retry_after_seconds if parsed.details else None
    if not seconds and retry_after and retry_after.isdecimal():
        seconds = int(retry_after)
    after = min(float(seconds), _LONGEST_WAIT) if seconds else None
    return api_error(status, parsed.reason, parsed.message or f"HTTP {status}", retry_after=after)


def kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A TCP socket for a ``getaddrinfo`` entry that notices a dead peer also while it only listens."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # Linux has them all
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


class Client:
    """An API server, one connection pool. Use as an async context manager.

    Every method raises an ``ApiError``: ``ApiUnavailable`` when there was no answer.
    """

    def __init__(self, credentials: Credentials, *, observe: Observer | None = None, timeout: float = 30.0) -> None:
        self._credentials = credentials
        self._observe = observe
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            ssl=self._credentials.tls or True, limit=64, keepalive_timeout=60, socket_factory=kept_alive
        )
        self._http = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": f"kubelet-bridge/{__version__}", "Accept": _ACCEPT}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @property
    def base_url(self) -> str:
        """The API server's URL."""
        return self._credentials.base_url

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - one deadline for connect, send and read
        label: tuple[str, str] = ("raw", ""),
    ) -> bytes:
        """Send one request and return the body."""
        async with self.stream(
            method, path, params=params, body=body, content_type=content_type, headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout or self._timeout), label=label,
        ) as response:  # fmt: skip
            return await response.read()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
        label: tuple[str, str] = ("raw", ""),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response while its body is still coming; raises for a status >= 300."""
        loop = asyncio.get_running_loop()
        start, status = loop.time(), 0
        try:
            sent = {**(headers or {})}
            if body is not None:
                sent["Content-Type"] = content_type
            answer = await self._send(method, path, params=params, data=body, headers=sent, timeout=timeout)
            async with answer as response:
                status = response.status
                if status >= 300:
                    raise status_error(status, await response.read(), response.headers.get("Retry-After"))
                if response.content_type == "text/html":
                    raise ApiUnavailable(
                        0, "Malformed", f"{method} {path} was answered with a web page: not by an API server"
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status = 0
            reason = "Timeout" if isinstance(error, TimeoutError) else "Unreachable"
            raise ApiUnavailable(0, reason, f"{method} {path}: {str(error) or type(error).__name__}") from error
        finally:
            if self._observe is not None:
                self._observe(*label, status, loop.time() - start)

    async def _send(self, method: str, path: str, *, headers: dict[str, str], **rest: Any) -> aiohttp.ClientResponse:
        """Ask; and once more with new credentials when the API server does not know the ones we have (any more)."""
        authorization = await self._credentials.authorization()
        response = await self._ask(method, path, authorization, headers, **rest)
        if response.status != 401 or not await self._credentials.renew(authorization):
            return response
        response.close()  # and the connection with it: the client certificate may be what is new
        return await self._ask(method, path, await self._credentials.authorization(), headers, **rest)

    async def _ask(
        self, method: str, path: str, authorization: str | None, headers: dict[str, str], **rest: Any
    ) -> aiohttp.ClientResponse:
        if self._http is None:
            raise RuntimeError("the client is not open")
        proof = {"Authorization": authorization} if authorization is not None else {}
        return await self._http.request(
            method, self._credentials.base_url + path, headers={**headers, **proof}, allow_redirects=False, **rest
        )

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """GET one object."""
        return await self.request(
            "GET", resource.path(namespace, name, subresource), headers=headers, label=("get", resource.plural)
        )

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """GET a collection, in one page."""
        params = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self.request(
            "GET", resource.path(namespace), params={k: v for k, v in params.items() if v}, headers=headers,
            label=("list", resource.plural),
        )  # fmt: skip

    async def create(
        self, resource: Resource, namespace: str | None, body: object, *, name: str | None = None,
        subresource: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """POST an object, or a subresource of ``name``."""
        return await self.request(
            "POST", resource.path(namespace, name, subresource), body=_ENCODER.encode(body), headers=headers,
            label=("create", _labelled(resource, subresource)),
        )  # fmt: skip

    async def apply(
        self, resource: Resource, namespace: str | None, name: str, body: object, *, field_manager: str = FIELD_MANAGER,
        force: bool = True, subresource: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """Server-side apply: create, or make the fields in ``body`` (and only those) ours."""
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body=_ENCODER.encode(body), content_type=_APPLY,
            params={"fieldManager": field_manager, "force": "true" if force else "false"}, headers=headers,
            label=("apply", _labelled(resource, subresource)),
        )  # fmt: skip

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, body: object, *, kind: PatchType,
        subresource: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """PATCH an object or its subresource."""
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body=_ENCODER.encode(body), content_type=kind.value,
            headers=headers, label=("patch", _labelled(resource, subresource)),
        )  # fmt: skip

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: object, *, subresource: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """PUT an object or its subresource."""
        return await self.request(
            "PUT", resource.path(namespace, name, subresource), body=_ENCODER.encode(body), headers=headers,
            label=("replace", _labelled(resource, subresource)),
        )  # fmt: skip

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None,
        grace_seconds: int | None = None, propagation: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """DELETE an object; with ``uid`` only that incarnation (else ``Conflict``)."""
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": uid} if uid else None,
            "gracePeriodSeconds": grace_seconds, "propagationPolicy": propagation,
        }  # fmt: skip
        body = _ENCODER.encode({k: v for k, v in options.items() if v is not None})
        return await self.request(
            "DELETE", resource.path(namespace, name), body=body, headers=headers, label=("delete", resource.plural)
        )


def _labelled(resource: Resource, subresource: str | None) -> str:
    return f"{resource.plural}/{subresource}" if subresource else resource.plural
