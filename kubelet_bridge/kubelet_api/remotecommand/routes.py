"""``/exec`` and ``/attach``: from the request to the session. What a kubelet says before the upgrade, we say too."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from aiohttp import web

from kubelet_bridge.kubelet_api.audit import audited
from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.ports import ContainerRef, Ended, FindContainer, Process, Workload
from kubelet_bridge.kubelet_api.remotecommand import spdystreams, websocket
from kubelet_bridge.kubelet_api.remotecommand.client import Client
from kubelet_bridge.kubelet_api.remotecommand.session import Session, Times
from kubelet_bridge.kubelet_api.remotecommand.wants import NoStreams, Wants, wanted
from kubelet_bridge.kubelet_api.routing import served
from kubelet_bridge.kubelet_api.spdy.handshake import negotiated
from kubelet_bridge.kubelet_api.spdy.upgrade import upgrade


class Act(msgspec.Struct, frozen=True):
    """What is done to a container.

    Attributes:
        what: exec or attach.
        failing: the kubelet's words before why it could not be done.
        tty: whether the process has a terminal.
        start: gives it.
    """

    what: str
    failing: str
    container: ContainerRef
    command: Sequence[str]
    tty: bool
    start: Callable[[], AbstractAsyncContextManager[Process]]

    def told(self, ended: Ended) -> Ended:
        """How the client is told: of what it was only attached to, not the exit code, but that it is over."""
        if ended.error:
            return Ended(error=f"{self.failing}: {ended.error}")
        return Ended() if self.what == "attach" else ended


def routes(find: FindContainer, times: Times) -> list[web.RouteDef]:
    """Both, with and without the Pod's uid."""
    streaming = Streaming(find, times)
    return [
        route
        for what, handler in (("exec", streaming.exec), ("attach", streaming.attach))
        for uid in ("", "/{uid}")
        for route in served(f"/{what}/{{namespace}}/{{pod}}{uid}/{{container}}", handler, "GET", "POST")
    ]


def container_of(request: web.Request) -> ContainerRef:
    """The container that the path names."""
    return ContainerRef(**request.match_info)


class Streaming:
    """The handlers."""

    def __init__(self, find: FindContainer, times: Times) -> None:
        self._find, self._times = find, times

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command."""

        def act(container: ContainerRef, workload: Workload, wants: Wants) -> Act:
            command = request.query.getall("command", [])
            return Act(
                "exec", "error executing command in container", container, command, wants.tty,
                lambda: workload.exec(command, stdin=wants.stdin, tty=wants.tty),
            )  # fmt: skip

        return await self._serve(request, act)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Take part in the container's own streams: with a terminal if it has one, whatever is asked for."""

        def act(container: ContainerRef, workload: Workload, wants: Wants) -> Act:
            return Act(
                "attach", "error attaching to container", container, [], workload.tty,
                lambda: workload.attach(stdin=wants.stdin),
            )  # fmt: skip

        return await self._serve(request, act)

    async def _serve(
        self, request: web.Request, make: Callable[[ContainerRef, Workload, Wants], Act]
    ) -> web.StreamResponse:
        try:
            wants = wanted(request.query)
        except NoStreams as error:
            return plain(400, str(error))
        container = container_of(request)
        act = make(container, self._find(container), wants)
        if websocket.asks_for_websocket(request):
            return await self._over_websocket(request, wants, act)
        return await self._over_spdy(request, wants, act)

    async def _over_websocket(self, request: web.Request, wants: Wants, act: Act) -> web.StreamResponse:
        if (refused := websocket.refusal(request)) is not None:
            return refused
        socket = websocket.socket_for(request)
        await socket.prepare(request)
        client = websocket.WebSocketClient(socket)
        await self._converse(request, client, wants, act, self._times)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._times.closing):
                await client.close()
        return socket

    async def _over_spdy(self, request: web.Request, wants: Wants, act: Act) -> web.StreamResponse:
        protocol = negotiated(request, spdystreams.SUPPORTED)
        if isinstance(protocol, web.Response):
            return protocol
        response, wire = await upgrade(request, protocol)
        times = msgspec.structs.replace(self._times, idle=math.inf)  # the connection has an eye on that itself
        async with spdystreams.connected(wire, protocol, self._times) as client:
            await self._converse(request, client, wants, act, times)
        return response

    async def _converse(self, request: web.Request, client: Client, wants: Wants, act: Act, times: Times) -> None:
        container = act.container
        subject = f"{container.namespace}/{container.pod}/{container.container}"
        with audited(request, act.what, subject, act.command) as transfer, contextlib.suppress(ConnectionError):
            transfer.result = "client gone"
            await client.ready(wants)
            session = Session(client, msgspec.structs.replace(wants, tty=act.tty), transfer, times)
            if (ended := await session.run(act.start())) is None:
                return
            transfer.result = "error" if ended.error else f"exit code {ended.code}"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(session.left, 0) + self._times.closing):
                    await client.finish(act.told(ended))
