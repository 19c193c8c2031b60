"""The routes of the kubelet API that lead into machines."""

from aiohttp import web

from kubelet_bridge.daemon.inside.finder import Finder
from kubelet_bridge.kubelet_api.portforward.routes import routes as forwarding
from kubelet_bridge.kubelet_api.remotecommand import run
from kubelet_bridge.kubelet_api.remotecommand.routes import routes as streaming
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.settings import Settings


def routes(finder: Finder, settings: Settings) -> list[web.RouteDef]:
    """exec, attach, run and port-forward."""
    idle, creation = settings.streaming_idle_seconds, settings.stream_creation_seconds
    return [
        *streaming(finder.container, Times(idle=idle, creation=creation)), *run.routes(finder.container),
        *forwarding(finder.ports, Limits(idle=idle, creation=creation)),
    ]  # fmt: skip
