"""``/configz``: the node's configuration in the names of a KubeletConfiguration (component-base/configz)."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from kubelet_bridge.kubelet_api.routing import served

ReadConfiguration = Callable[[], Mapping[str, Any]]
"""A KubeletConfiguration (kubelet.config.k8s.io/v1beta1) as JSON has it: what we have of it, as it is now."""


def routes(read: ReadConfiguration) -> list[web.RouteDef]:
    """``GET /configz``."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=msgspec.json.encode({"kubeletconfig": read()}), content_type="application/json")

    return served("/configz", handle)


def duration(seconds: float) -> str:
    """As Go prints a ``time.Duration``, which is how a metav1.Duration is written: ``4h0m0s``, ``1m30.5s``, ``200ms``.

    Not for less than a millisecond.
    """
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
