"""Request targets on which aiohttp founders, seen to before it routes, and so before anybody is asked who it is."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from kubelet_bridge.kubelet_api.gate import plain

MOST = 64
"""Slashes; a route has seven at most, and the file of ``/logs`` any number."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Make = Callable[..., web.BaseRequest]


def guard(server: web.Server) -> None:
    """To be called before ``server`` has connections."""
    server.request_handler = shallow(server.request_handler)
    server.request_factory = relative(server.request_factory)


def shallow(handle: Handle) -> Handle:
    """``handle``, but for paths of very many segments.

    The router takes time by the square of their number: a path of nothing but slashes, as long as a request line may
    be, stopped everything else in this process for many seconds.
    """

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if request.rel_url.raw_path.count("/") <= MOST:
            return await handle(request)
        response = plain(414, "Request-URI Too Long")
        response.force_close()
        return response

    return guarded


def relative(make: Make) -> Make:
    """``make``, without the host of an absolute target, at which nobody here looks.

    One that is no name made aiohttp's task fail: no answer, and the connection stayed for as long as the client liked.
    """

    def made(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if message.url.absolute:
            message = message._replace(url=message.url.relative())
        return make(message, *rest)

    return made
