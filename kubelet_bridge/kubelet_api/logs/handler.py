"""``/containerLogs/{namespace}/{pod}/{container}``: one log, as it is or as it grows.

Source: ``getContainerLogs`` in ``pkg/kubelet/server/server.go``.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import HttpVersion11, web

from kubelet_bridge.kubelet_api.logs.options import LogOptions, parse
from kubelet_bridge.kubelet_api.logs.refused import LogsRefused
from kubelet_bridge.kubelet_api.ports import ContainerRef
from kubelet_bridge.kubelet_api.routing import served

PATH = "/containerLogs/{namespace}/{pod}/{container}"

OpenLog = Callable[[ContainerRef, LogOptions], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""The log as the client gets it, in pieces; the next is asked for when the last is on its way.

Entering raises ``LogsRefused``, or ``Transient`` when it cannot be read now.
"""


def routes(open_log: OpenLog) -> list[web.RouteDef]:
    """The route of the logs."""

    async def handle(request: web.Request) -> web.StreamResponse:
        match = request.match_info
        try:
            options = parse({name: request.query.getone(name) for name in request.query})
            async with open_log(ContainerRef(match["namespace"], match["pod"], match["container"]), options) as log:
                return await _send(request, log)
        except LogsRefused as refusal:
            if request.writer.output_size > 0:
                raise
            return web.Response(
                status=refusal.status, text=refusal.message, headers={"X-Content-Type-Options": "nosniff"}
            )

    return served(PATH, handle)


async def _send(request: web.Request, log: AsyncIterator[bytes]) -> web.StreamResponse:
    """The head at once: who follows a silent container learns that it is there."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"})
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    async for piece in log:
        if not piece:
            continue
        try:
            await response.write(piece)
        except ConnectionResetError:  # the client has gone: nobody is there to be told
            return response
    await response.write_eof()
    return response
