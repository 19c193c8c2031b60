"""How routes are declared."""

from aiohttp import web
from aiohttp.typedefs import Handler


def served(path: str, handler: Handler, *methods: str) -> list[web.RouteDef]:
    """``path`` with and without a slash at its end, as a kubelet's router takes both; GET unless told otherwise."""
    return [web.route(method, spelled, handler) for method in methods or ("GET",) for spelled in (path, f"{path}/")]
