"""The routes of the kubelet API that lead into machines."""

from aiohttp import web

from kubelet_bridge.daemon.inside.finder import Finder
from kubelet_bridge.kubelet_api.remotecommand import run
from kubelet_bridge.kubelet_api.remotecommand.routes import routes as streaming
from kubelet_bridge.kubelet_api.remotecommand.session import Times


def routes(finder: Finder) -> list[web.RouteDef]:
    """exec, attach, run and port-forward."""
    times = Times()
    return [*streaming(finder.container, times), *run.routes(finder.container)]
