"""Prometheus metrics over HTTP; what they are, others know."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from kubelet_bridge.kubelet_api.routing import served

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From the scraper's Accept header to a body and its content type."""


def routes(path: str, scrape: Scrape) -> list[web.RouteDef]:
    """``GET path``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body, content_type = await scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return served(path, handle)
