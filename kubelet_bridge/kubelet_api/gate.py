"""The way into every handler: who is it, may they; and errors as plain text, as a kubelet answers."""

from collections.abc import Callable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from kubelet_bridge.errors import BridgeError, NotFound, Transient
from kubelet_bridge.kubelet_api.attributes import attributes
from kubelet_bridge.kubelet_api.auth import BEARER_PROTOCOL, Authenticator, Authorizer
from kubelet_bridge.kubelet_api.connections import Connections
from kubelet_bridge.model.access import User

log = structlog.get_logger(__name__)

USER = web.RequestKey("user", User)
"""Who asks; every handler may rely on it."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})

ObserveRequest = Callable[[str, str, int], None]
"""Told of each request: its route, method and status (499: the client went away)."""


class Gate:
    """The middleware of the kubelet API. Nobody passes unknown, or without the right."""

    def __init__(
        self, connections: Connections, authenticator: Authenticator, authorizer: Authorizer, observe: ObserveRequest
    ) -> None:
        self._connections = connections
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._observe = observe

    @web.middleware
    async def pass_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve one request."""
        status = 499
        with self._connections.serving(request.transport) as connection:
            try:
                response = await self._answer(request, handler)
                status = response.status
            finally:
                method = request.method if request.method in _METHODS else "other"
                self._observe(route_of(request) or "none", method, status)
        if connection is not None and connection.last_request:
            response.force_close()
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await self._refusal(request) or await handler(_without_token(request))
        except (web.HTTPException, BridgeError) as error:
            if request.writer.output_size > 0:
                raise  # a second head in the middle of a stream helps nobody; aiohttp closes the connection
            return worded(error) if isinstance(error, web.HTTPException) else plain(status_of(error), error.message)

    async def _refusal(self, request: web.Request) -> web.Response | None:
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        user = await self._authenticator.authenticate(
            certificate, request.headers.get("Authorization"), _offered(request)
        )
        if user is None:
            return plain(401, "Unauthorized")
        wanted = attributes(request.method, route_of(request) or "/")
        if not await self._authorizer.allowed(user, wanted):
            what = (
                f"verb={wanted[0].verb}, resource=nodes, subresource(s)=[{' '.join(one.subresource for one in wanted)}]"
            )
            log.info("refused", user=user.name, asked=what, peer=request.remote)
            return plain(403, f"Forbidden (user={user.name}, {what})")
        request[USER] = user
        return None


def _offered(request: web.Request) -> str | None:
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return None
    return ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []))


def _without_token(request: web.Request) -> web.Request:
    """As a kubelet passes it on: refusals name the subprotocols, and aiohttp logs those that it does not know."""
    offered = _offered(request) or ""
    if BEARER_PROTOCOL not in offered:
        return request
    names = [name.strip() for name in offered.split(",")]
    headers = request.headers.copy()
    headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(name for name in names if not name.startswith(BEARER_PROTOCOL))
    return request.clone(headers=headers)


def route_of(request: web.Request) -> str | None:
    """The route as it was declared (``/exec/{namespace}/…``); None when no route matches.

    Authorization looks at this and not at the path, so that no spelling of a path is allowed as one thing and served as
    another. What matches no route asks for ``proxy``.
    """
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None


def status_of(error: BridgeError) -> int:
    """The HTTP status for an error of ours that reaches the client."""
    match error:
        case NotFound():
            return 404
        case Transient():
            return 503
        case _:
            return 500


def worded(answer: web.HTTPException) -> web.Response:
    """What aiohttp would answer by itself, in the words of a kubelet (Go's mux and go-restful)."""
    text = answer.text or ""
    response = plain(answer.status, "404 page not found" if text == "404: Not Found" else text)
    if (allow := answer.headers.get("Allow")) is not None:
        response.headers["Allow"] = ", ".join(sorted(allow.split(",")))
    return response


def plain(status: int, text: str) -> web.Response:
    """A plain-text answer. It may quote what a client sent, which need not be UTF-8: aiohttp has that as surrogates."""
    quotable = text.encode(errors="replace").decode()
    return web.Response(status=status, text=f"{quotable}\n", headers={"X-Content-Type-Options": "nosniff"})
