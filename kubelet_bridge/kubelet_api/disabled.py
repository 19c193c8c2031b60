"""What a kubelet can be told not to serve, and this one never does: answered in the words a kubelet has for that."""

from aiohttp import web

from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.routing import served


def routes() -> list[web.RouteDef]:
    """``/logs``, the files of a host that there is not; and ``/checkpoint``."""
    return [
        *served("/logs", _logs, "*"),
        web.route("*", "/logs/{path:.+}", _logs),
        *served("/checkpoint/{namespace}/{pod}/{container}", _checkpoint, "POST"),
    ]


async def _logs(_request: web.Request) -> web.StreamResponse:
    # pkg/kubelet/server/server.go, getHandlerForDisabledEndpoint
    return plain(405, "logs endpoint is disabled.")


async def _checkpoint(request: web.Request) -> web.StreamResponse:
    of = "/".join(request.match_info[name] for name in ("namespace", "pod", "container"))
    return plain(404, f"checkpointing of {of} failed (a container in a virtual machine has no checkpoints)")
