"""A VM's console or screen over a WebSocket: binary messages whose borders mean nothing, both ways, as KubeVirt's."""

from aiohttp import WSCloseCode, WSMsgType, web

from kubelet_bridge.aio.tasks import every, first_of
from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.audit import Transfer, audited
from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.vms.answers import Vm
from kubelet_bridge.kubelet_api.vms.ports import Dial, Line

PROTOCOL = "plain.kubevirt.io"
"""What KubeVirt's own clients ask for (kubecli/websocket.go); those that ask for nothing get the same."""

_PING_SECONDS = 20.0
"""Keeps what lies between from cutting a silent connection. An answer is not waited for: it comes behind the client's
input, which a slow console may hold up; that the client has gone, TCP tells."""
_MESSAGE_BYTES = 1024 * 1024


async def relayed(request: web.Request, what: str, vm: Vm, dial: Dial) -> web.StreamResponse:
    """Serve ``request`` with the bytes of what is dialled, until either side ends.

    Raises:
        BridgeError: the VM cannot be reached; nothing was sent yet.
    """
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=_MESSAGE_BYTES, compress=False)
    if not socket.can_prepare(request):
        return plain(400, "Upgrade request required")
    subject = "/".join(part for part in (vm.namespace, vm.name, vm.container) if part)
    async with dial(vm.namespace, vm.vm_name) as line:
        with audited(request, what, subject) as transfer:
            await socket.prepare(request)
            try:
                await first_of(
                    _inward(socket, line, transfer),
                    _outward(socket, line, transfer),
                    every(_PING_SECONDS, socket.ping),
                )
            except ConnectionError:
                transfer.result = "disconnected"
            except BridgeError as error:
                transfer.result = error.reason
                reason = error.message.encode(errors="replace")[:100].decode(errors="ignore")  # whole characters
                await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=reason.encode())
            else:
                await socket.close(code=WSCloseCode.OK)
    return socket


async def _inward(socket: web.WebSocketResponse, line: Line, transfer: Transfer) -> None:
    while True:
        message = await socket.receive()
        match message.type:
            case WSMsgType.BINARY:
                transfer.received += len(message.data)
                await line.write(message.data)
            case WSMsgType.TEXT:
                continue  # means nothing in KubeVirt
            case _:
                return


async def _outward(socket: web.WebSocketResponse, line: Line, transfer: Transfer) -> None:
    while data := await line.read():
        await socket.send_bytes(data)
        transfer.sent += len(data)
