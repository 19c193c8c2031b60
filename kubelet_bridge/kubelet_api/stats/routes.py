"""The paths, and where their bytes are made: on a thread, one answer at a time, so that scrapes never pile up."""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from kubelet_bridge.kubelet_api.health import Check
from kubelet_bridge.kubelet_api.largebody import send
from kubelet_bridge.kubelet_api.routing import served
from kubelet_bridge.kubelet_api.stats import cadvisor, probes, resource, slis, summary
from kubelet_bridge.kubelet_api.stats.exposition import CONTENT_TYPE
from kubelet_bridge.model.usage import NodeUsage

Collect = Callable[[], NodeUsage]
"""Everything as of now. Called on a thread."""
Freeze = Callable[[], Collect]
"""Holds on to what is known at this moment. Called on the event loop: quick."""

_BRIEF = "only_cpu_and_memory"
_FORM = "application/x-www-form-urlencoded"


class _Scrapes:
    """Makes bytes of figures, for one client after the other."""

    def __init__(self, freeze: Freeze) -> None:
        self._freeze = freeze
        self._turn = asyncio.Lock()

    async def make(self, encode: Callable[[NodeUsage], bytes]) -> bytes:
        async with self._turn:
            collect = self._freeze()
            return await asyncio.to_thread(lambda: encode(collect()))

    def metrics(self, encode: Callable[[NodeUsage], bytes]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await send(request, await self.make(encode), CONTENT_TYPE, compress=True)

        return handle

    async def summary(self, request: web.Request) -> web.StreamResponse:
        values = [*request.query.getall(_BRIEF, [])]
        if _is_form(request):  # another body is not looked at, as Go's ParseForm does not
            form = parse_qs((await request.read()).decode(errors="replace"), keep_blank_values=True)
            values = [*form.get(_BRIEF, []), *values]
        brief = values == ["true"]
        body = await self.make(lambda node: summary.encode(node, only_cpu_and_memory=brief))
        return await send(request, body, "application/json")


def _is_form(request: web.Request) -> bool:
    """Not by ``request.content_type``: an odd header holds that up for seconds, or is an error."""
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() == _FORM


def routes(freeze: Freeze, checks: Mapping[str, Check]) -> list[web.RouteDef]:
    """``/stats/summary`` and every ``/metrics/…``."""
    scrapes, health = _Scrapes(freeze), slis.HealthCounts(checks)

    async def slis_(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=health.encode(), headers={"Content-Type": CONTENT_TYPE})

    return [
        *served("/stats/summary", scrapes.summary, "GET", "POST"),
        *served("/metrics/resource", scrapes.metrics(resource.encode)),
        *served("/metrics/cadvisor", scrapes.metrics(cadvisor.encode)),
        *served("/metrics/probes", scrapes.metrics(probes.encode)),
        *served("/metrics/slis", slis_),
    ]
