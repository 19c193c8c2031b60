"""Paths every kubelet has and this version does not serve yet: 501, and which part is missing."""

from aiohttp import web

from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.routing import served

_BOTH = ("GET", "POST")

NOT_YET: dict[str, tuple[tuple[str, ...], str]] = {
    "/portForward/{namespace}/{pod}": (_BOTH, "port forwarding (kubectl port-forward)"),
    "/portForward/{namespace}/{pod}/{uid}": (_BOTH, "port forwarding (kubectl port-forward)"),
}
"""Route → methods, and what is missing in words a user knows."""


def routes() -> list[web.RouteDef]:
    """One route for each path in the table."""
    return [route for path, (methods, what) in NOT_YET.items() for route in _missing(path, methods, what)]


def _missing(path: str, methods: tuple[str, ...], what: str) -> list[web.RouteDef]:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return plain(501, f"this version of kubelet-bridge has no {what} yet")

    return served(path, handle, *methods)
