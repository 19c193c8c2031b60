"""virt-handler's HTTPS server: what virt-api relays a subresource to.

Routes: cmd/virt-handler/virt-handler.go (runServer) and pkg/virt-handler/rest in KubeVirt. Console and VNC are
websockets with binary frames; one session of each per guest, and a new one ends the old. Only virt-api is let in.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import web

from kubelet_bridge.devcluster.devhost.domains import Domains
from kubelet_bridge.devcluster.devhost.duration import seconds as parse_duration
from kubelet_bridge.devcluster.devhost.runtime import ByteStream, Guest, GuestInfo
from kubelet_bridge.devcluster.devhost.vmistatus import os_info
from kubelet_bridge.errors import BridgeError

log = structlog.get_logger(__name__)

CLIENT_NAME = "kubevirt.io:system:client:virt-handler"
_BASE = "/v1/namespaces/{namespace}/virtualmachineinstances/{name}"
_PROTOCOL = "plain.kubevirt.io"

Action = Callable[[Guest], Awaitable[None]]


class _Freeze(msgspec.Struct, rename="camel"):
    unfreeze_timeout: str | None = None


def server_tls(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """TLS that asks for a certificate of KubeVirt's CA. Reads files: not for the event loop."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Endpoints:
    """The server of one host."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._sessions: dict[tuple[str, str], web.WebSocketResponse] = {}

    async def run(self, address: str, port: int, tls: ssl.SSLContext) -> None:
        """Serve for ever."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port, ssl_context=tls).start()
            log.info("virt-handler listens", address=address, port=port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_only_virt_api])
        application.add_routes([
            web.get("/healthz", _healthy),
            web.get(f"{_BASE}/console", self._stream("console", lambda guest: guest.console())),
            web.get(f"{_BASE}/vnc", self._stream("vnc", lambda guest: guest.vnc())),
            web.put(f"{_BASE}/freeze", self._freeze),
            web.get(f"{_BASE}/guestosinfo", self._answer(agent_info)),
            web.get(f"{_BASE}/userlist", self._answer(user_list)),
            web.get(f"{_BASE}/filesystemlist", self._answer(filesystem_list)),
            *(web.put(f"{_BASE}/{name}", self._act(action)) for name, action in _ACTIONS.items()),
        ])  # fmt: skip
        return application

    def _guest(self, request: web.Request) -> Guest:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        guest = self._domains.running_of((namespace, name))
        if guest is None:
            raise web.HTTPNotFound(text=f"VirtualMachineInstance {namespace}/{name} does not run on this host")
        return guest

    def _act(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            await action(self._guest(request))
            return web.Response(status=202)

        return handle

    def _answer(
        self, render: Callable[[GuestInfo], dict[str, Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            info = await self._guest(request).info()
            return web.Response(body=msgspec.json.encode(render(info)), content_type="application/json")

        return handle

    async def _freeze(self, request: web.Request) -> web.Response:
        guest = self._guest(request)
        try:
            options = msgspec.json.decode(await request.read() or b"{}", type=_Freeze)
            if options.unfreeze_timeout is None:
                raise web.HTTPBadRequest(text="Unfreeze timeout in freeze request is not set")
            await guest.freeze(parse_duration(options.unfreeze_timeout))
        except (msgspec.DecodeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"failed to unmarshal unfreeze timeout: {error}") from error
        return web.Response(status=202)

    def _stream(
        self, kind: str, attach: Callable[[Guest], Awaitable[ByteStream]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            guest = self._guest(request)
            session = (kind, guest.spec.uid)
            before = self._sessions.get(session)
            if before is not None and request.query.get("preserveSession") == "true":
                raise web.HTTPServiceUnavailable(text="Active VNC connection. Request denied.")
            socket = web.WebSocketResponse(protocols=(_PROTOCOL,), max_msg_size=0)
            await socket.prepare(request)
            self._sessions[session] = socket
            if before is not None:
                await before.close()
            try:
                await relay(socket, await attach(guest))
            finally:
                if self._sessions.get(session) is socket:
                    del self._sessions[session]
            return socket

        return handle


async def relay(socket: web.WebSocketResponse, stream: ByteStream) -> None:
    """Pass bytes both ways until either side ends. Text frames are ignored, as by KubeVirt's readers."""

    async def to_client() -> None:
        while data := await stream.read():
            await socket.send_bytes(data)
        await socket.close()

    try:
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(to_client(), name="stream-to-client")
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await stream.write(message.data)
            sender.cancel()
    except* ConnectionError:
        log.debug("the viewer has gone")
    finally:
        await stream.close()


def agent_info(info: GuestInfo) -> dict[str, Any]:
    """VirtualMachineInstanceGuestAgentInfo."""
    return {
        "guestAgentVersion": info.agent_version, "hostname": info.hostname, "timezone": info.timezone,
        "os": os_info(info), "userList": user_list(info)["items"], "fsInfo": {"disks": filesystem_list(info)["items"]},
    }  # fmt: skip


def user_list(info: GuestInfo) -> dict[str, Any]:
    """VirtualMachineInstanceGuestOSUserList."""
    return {"items": [{"userName": user} for user in info.users]}


def filesystem_list(info: GuestInfo) -> dict[str, Any]:
    """VirtualMachineInstanceFileSystemList."""
    return {
        "items": [
            {"diskName": filesystem.device, "mountPoint": filesystem.mount_point, "fileSystemType": filesystem.kind,
             "usedBytes": filesystem.used, "totalBytes": filesystem.total}
            for filesystem in info.filesystems
        ]
    }  # fmt: skip


_ACTIONS: dict[str, Action] = {
    "pause": lambda guest: guest.pause(),
    "unpause": lambda guest: guest.unpause(),
    "unfreeze": lambda guest: guest.thaw(),
    "reset": lambda guest: guest.reset(),
    "softreboot": lambda guest: guest.reboot(),
}


@web.middleware
async def _only_virt_api(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """KubeVirt's CA signs more than one client: only virt-api's name is let in (pkg/util/tls, verifyPeerCert).

    What a guest cannot do is an error of the server, as at virt-handler's.
    """
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    subject = {key: value for part in (certificate or {}).get("subject", ()) for key, value in part}
    if subject.get("commonName") != CLIENT_NAME:
        raise web.HTTPForbidden(text="not virt-api")
    try:
        return await handler(request)
    except BridgeError as error:
        raise web.HTTPInternalServerError(text=error.message) from error


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
