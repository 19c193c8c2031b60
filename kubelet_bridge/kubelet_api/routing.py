"""How routes are declared."""

from aiohttp import web
from aiohttp.typedefs import Handler


def served(path: str, handler: Handler, *methods: str) -> list[web.RouteDef]:
    """``path`` with and without a slash at its end, as a kubelet's router takes both; GET unless told otherwise."""
    return [route(method, spelled, handler) for method in methods or ("GET",) for spelled in (path, f"{path}/")]


def route(method: str, path: str, handler: Handler) -> web.RouteDef:
    """One route. A GET of aiohttp's is a HEAD as well, a kubelet's is not."""
    return web.get(path, handler, allow_head=False) if method == "GET" else web.route(method, path, handler)
