"""Every route that the daemon's kubelet API declares, taken from the daemon itself: a new one cannot be forgotten."""

import re
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from kubelet_bridge.daemon.assembly import Assembly
from kubelet_bridge.kube.credentials import Credentials
from kubelet_bridge.kubelet_api.routing import route
from kubelet_bridge.settings import Settings
from kubelet_bridge.telemetry.metrics import Metrics


class Declared(NamedTuple):
    """One route: ``method`` is ``*`` where all are served."""

    method: str
    path: str

    @property
    def example(self) -> str:
        """A path that leads there."""
        return re.sub(r"\{(\w+)\}", r"\1-1", self.path)


async def _nobody() -> None:
    return None


def declared(directory: Path) -> list[Declared]:
    """Nothing is started: the parts are only made."""
    settings = Settings(state_dir=str(directory), listen="127.0.0.1:0", admin_listen="127.0.0.1:0")
    assembly = Assembly(settings, Metrics(), Credentials("http://127.0.0.1:1", None, _nobody), "127.0.0.1")
    routes = assembly.server._runner.app.router.routes()
    return [Declared(one.method, one.resource.canonical) for one in routes if one.resource is not None]


def methods(one: Declared) -> tuple[str, ...]:
    """Those to try."""
    return ("GET", "POST") if one.method == "*" else (one.method,)


def stubs(routes: list[Declared]) -> list[web.RouteDef]:
    """The same routes, which only tell that they were come to."""

    def stub(one: Declared) -> web.RouteDef:
        async def handle(_request: web.Request) -> web.StreamResponse:
            return web.Response(text=one.path)

        return route(one.method, one.path, handle)

    return [stub(one) for one in routes]
