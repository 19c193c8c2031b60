"""The routes of ``/vms``. All that is under ``/vms/{id}`` is under ``/vms/by-name/{namespace}/{name}`` as well."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from kubelet_bridge.kubelet_api.routing import served
from kubelet_bridge.kubelet_api.vms import query
from kubelet_bridge.kubelet_api.vms.ports import Dial, VmReader
from kubelet_bridge.kubelet_api.vms.relay import relayed

ONE = ("/vms/{id}", "/vms/by-name/{namespace}/{name}")


def routes(reader: VmReader, *, console: Dial, screen: Dial) -> list[web.RouteDef]:
    """What can be read of VMs, and the way to a VM's ``console`` and ``screen``."""
    parts: dict[str, Handler] = {
        "": _answering(reader.detail),
        "/history": _answering(reader.history),
        "/actions": _answering(reader.actions),
        "/guest": _answering(reader.guest),
        "/console": _relaying(reader, "console", console),
        "/vnc": _relaying(reader, "vnc", screen),
    }
    return [
        *served("/vms", _listing(reader)),
        *(route for one in ONE for part, handler in parts.items() for route in served(one + part, handler)),
    ]


def _listing(reader: VmReader) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            asked = query.parse(request.query)
        except query.BadQuery as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return _json(await reader.page(asked))

    return handle


def _answering(read: Callable[[str], Awaitable[msgspec.Struct]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _json(await read(named(request)))

    return handle


def _relaying(reader: VmReader, what: str, dial: Dial) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        vm = await reader.living(named(request))
        return await relayed(request, what, vm, dial)

    return handle


def named(request: web.Request) -> str:
    """The VM that the path names, as ``VmReader`` takes it."""
    found = request.match_info
    return found["id"] if "id" in found else f"{found['namespace']}/{found['name']}"


def _json(answer: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")
