"""Refuses paths of very many segments before they are routed, and so before anybody is asked who it is.

aiohttp's router takes time by the square of their number: a path of nothing but slashes, as long as a request line may
be, stopped everything else in this process for many seconds.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from kubelet_bridge.kubelet_api.gate import plain

MOST = 64
"""Slashes; a route has seven at most, and the file of ``/logs`` any number."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def refused(handle: Handle) -> Handle:
    """``handle``, but for paths that are too deep."""

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if request.rel_url.raw_path.count("/") <= MOST:
            return await handle(request)
        response = plain(414, "Request-URI Too Long")
        response.force_close()
        return response

    return guarded
