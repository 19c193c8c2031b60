"""``/pods`` and ``/runningpods/``: what is on this node, from bytes that are never decoded."""

from collections.abc import Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from kubelet_bridge.kubelet_api.largebody import send
from kubelet_bridge.kubelet_api.routing import served

RawPods = Callable[[], Iterable[bytes]]
"""v1.Pods as JSON, as the API server wrote them."""


def pod_list(pods: Iterable[bytes]) -> bytes:
    """A v1.PodList of ``pods``."""
    return b"".join((b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[', b",".join(pods), b"]}"))


def routes(assigned: RawPods, running: RawPods) -> list[web.RouteDef]:
    """The Pods assigned to this node, and those that run on it."""
    return [*served("/pods", _listing(assigned)), *served("/runningpods", _listing(running))]


def _listing(pods: RawPods) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await send(request, pod_list(pods()), "application/json")

    return handle
