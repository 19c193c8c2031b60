"""The paths that lead into guests, without guests: whoever is let in is answered 501."""

from aiohttp import web

from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.routing import served

_BOTH = ("GET", "POST")
_PATHS = {
    "/containerLogs/{namespace}/{pod}/{container}": ("GET",),
    "/exec/{namespace}/{pod}/{container}": _BOTH,
    "/exec/{namespace}/{pod}/{uid}/{container}": _BOTH,
    "/attach/{namespace}/{pod}/{container}": _BOTH,
    "/attach/{namespace}/{pod}/{uid}/{container}": _BOTH,
    "/portForward/{namespace}/{pod}": _BOTH,
    "/portForward/{namespace}/{pod}/{uid}": _BOTH,
    "/run/{namespace}/{pod}/{container}": ("POST",),
    "/run/{namespace}/{pod}/{uid}/{container}": ("POST",),
}


def routes() -> list[web.RouteDef]:
    """All of them."""
    return [route for path, methods in _PATHS.items() for route in served(path, _nothing_here, *methods)]


async def _nothing_here(_request: web.Request) -> web.StreamResponse:
    return plain(501, "there are no guests")
