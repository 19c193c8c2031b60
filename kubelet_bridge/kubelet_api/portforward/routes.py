"""``/portForward/{namespace}/{pod}``: from the request to what runs it, or to the words a kubelet refuses it with."""

from typing import Literal

from aiohttp import hdrs, web

from kubelet_bridge.kubelet_api.audit import audited
from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.portforward.channels import BadPorts, Subprotocol, requested_ports
from kubelet_bridge.kubelet_api.portforward.spdypairs import SpdyForwarding
from kubelet_bridge.kubelet_api.portforward.target import Target
from kubelet_bridge.kubelet_api.portforward.websocket import GONE, WebSocketForwarding
from kubelet_bridge.kubelet_api.ports import FindPod, PodRef
from kubelet_bridge.kubelet_api.remotecommand.websocket import asks_for_websocket, offered
from kubelet_bridge.kubelet_api.routing import served
from kubelet_bridge.kubelet_api.spdy.handshake import negotiated
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.kubelet_api.spdy.session import SpdySession
from kubelet_bridge.kubelet_api.spdy.tunnel import LARGEST_MESSAGE, WebSocketWire
from kubelet_bridge.kubelet_api.spdy.upgrade import upgrade
from kubelet_bridge.kubelet_api.spdy.wire import Wire

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"

_LARGEST_CHANNEL_MESSAGE = 4 * 1024 * 1024


def routes(find: FindPod, limits: Limits | None = None) -> list[web.RouteDef]:
    """With and without the Pod's uid."""
    handler = PortForwarding(find, limits or Limits()).handle
    return [
        route
        for uid in ("", "/{uid}")
        for route in served(f"/portForward/{{namespace}}/{{pod}}{uid}", handler, "GET", "POST")
    ]


class PortForwarding:
    """The handler."""

    def __init__(self, find: FindPod, limits: Limits) -> None:
        self._find, self._limits = find, limits

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client, with all its connections."""
        if asks_for_websocket(request):
            if any(one.startswith("SPDY/3.1+") and one.endswith(".k8s.io") for one in offered(request)):
                return await self._tunnel(request, self._target(request))
            return await self._websocket(request)
        target = self._target(request)
        if "upgrade" not in request.headers.get(hdrs.CONNECTION, "").lower():
            return plain(400, "Upgrade request required")
        return await self._spdy(request, target)

    def _target(self, request: web.Request) -> Target:
        ref = PodRef(**request.match_info)
        return Target(ref, self._find(ref))

    async def _spdy(self, request: web.Request, target: Target) -> web.StreamResponse:
        protocol = negotiated(request, [PROTOCOL])
        if isinstance(protocol, web.Response):
            return protocol
        response, wire = await upgrade(request, protocol)
        await self._session(request, wire, target)
        return response

    async def _tunnel(self, request: web.Request, target: Target) -> web.StreamResponse:
        if (refused := _refusal(request, [TUNNEL])) is not None:
            return refused
        socket = _socket(TUNNEL, LARGEST_MESSAGE)
        await socket.prepare(request)
        await self._session(request, WebSocketWire(socket, request), target)
        await socket.close()
        return socket

    async def _session(self, request: web.Request, wire: Wire, target: Target) -> None:
        with audited(request, "port-forward", _subject(target)) as transfer:
            transfer.result = GONE
            async with SpdySession(wire, self._limits) as session:
                await SpdyForwarding(session, target, transfer).run()
                transfer.result = session.over or ""

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        try:
            ports = requested_ports(request.query.getall("port", []))
        except BadPorts as error:
            return plain(400, str(error))
        target = self._target(request)
        if (refused := _refusal(request, list(Subprotocol))) is not None:
            return refused
        socket = _socket(next(one for one in offered(request) or [""] if one in set(Subprotocol)))
        await socket.prepare(request)
        with audited(request, "port-forward", _subject(target)) as transfer:
            transfer.result = GONE
            transfer.result = await WebSocketForwarding(socket, target, transfer, self._limits.idle).run(ports)
        await socket.close()
        return socket


def _refusal(request: web.Request, supported: list[str]) -> web.Response | None:
    """As golang.org/x/net/websocket answers."""
    if request.method != hdrs.METH_GET:
        return plain(405, "bad method")
    names = offered(request)
    if not any(one in supported for one in names or [""]):
        listed = " ".join(one for one in supported if one)
        return plain(403, f"requested protocol(s) are not supported: [{' '.join(names)}]; supports [{listed}]")
    return None


def _socket(protocol: str, largest: int = _LARGEST_CHANNEL_MESSAGE) -> web.WebSocketResponse[Literal[False]]:
    return web.WebSocketResponse(
        protocols=[protocol] if protocol else [], max_msg_size=largest, compress=False, decode_text=False
    )


def _subject(target: Target) -> str:
    return f"{target.ref.namespace}/{target.ref.pod}"
