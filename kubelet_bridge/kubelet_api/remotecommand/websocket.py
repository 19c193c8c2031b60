"""A client that speaks channels over a WebSocket."""

import asyncio
from typing import Literal

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.channels import (
    Channel,
    ChannelError,
    Subprotocol,
    chosen,
    decode,
    encode,
    first_channel,
)
from kubelet_bridge.kubelet_api.remotecommand.client import Input
from kubelet_bridge.kubelet_api.remotecommand.status import status_json, status_text
from kubelet_bridge.kubelet_api.remotecommand.terminalsizes import TerminalSize, TerminalSizes
from kubelet_bridge.kubelet_api.remotecommand.wants import Wants

Socket = web.WebSocketResponse[Literal[False]]

_LARGEST = 32 * 1024 * 1024
"""Bytes of a message, as a kubelet has it (``DefaultMaxPayloadBytes`` of golang.org/x/net/websocket)."""
_TURN = 64
"""Messages until others have their turn: many tiny ones are much work for few bytes."""
_CLOSING_SECONDS = 60.0
"""For the client's half of the close: before that it has to read all that is on the way to it."""


class WebSocketClient:
    """A ``client.Client``. Until ``receive`` is called, pings wait for their answer."""

    def __init__(self, socket: Socket) -> None:
        self._socket, self._protocol = socket, Subprotocol(socket.ws_protocol or "")
        self._sizes = TerminalSizes()
        self._listening = False
        self._received = 0
        self._code = WSCloseCode.OK

    async def receive(self) -> Input | TerminalSize | None:
        """Pings are answered on the way. A message that breaks the protocol is the client's end."""
        self._listening = True
        try:
            while True:
                message = await self._socket.receive()
                self._received += 1
                if self._received % _TURN == 0:  # what has come already is received without waiting
                    await asyncio.sleep(0)
                match message.type:
                    case WSMsgType.BINARY | WSMsgType.TEXT:
                        if (event := self._event(message.data)) is not None:
                            return event
                    case WSMsgType.PING:
                        await self._socket.pong(message.data)
                    case WSMsgType.PONG:
                        pass
                    case _:
                        return None
        except ChannelError:
            self._code = WSCloseCode.PROTOCOL_ERROR
            return None
        finally:
            self._listening = False

    async def send(self, data: bytes, *, stderr: bool) -> None:
        """One message."""
        await self._send(Channel.STDERR if stderr else Channel.STDOUT, data)

    async def alive(self) -> None:
        """A ping, which need not be answered: a client may look at its socket rarely.

        While a process takes no input we do not see the client's pings, and kubectl gives up after a minute without an
        answer: a pong that was not asked for will do.
        """
        await self._socket.ping()
        if not self._listening:
            await self._socket.pong()

    async def ready(self, wants: Wants) -> None:
        """Tell the client that it may begin."""
        await self._send(first_channel(wants), b"")

    async def finish(self, ended: Ended) -> None:
        """The status, then close code 1000: with any other, clients report an error of their own."""
        status = status_json(ended) if self._protocol.structured else status_text(ended)
        if status:
            await self._send(Channel.ERROR, status)
        await self.close()

    async def close(self) -> None:
        """Wait for the client's half of the close, too; nothing to do when it is closed."""
        await self._socket.close(code=self._code)

    async def _send(self, channel: Channel, data: bytes) -> None:
        kind = WSMsgType.TEXT if self._protocol.textual else WSMsgType.BINARY
        await self._socket.send_frame(encode(self._protocol, channel, data), kind)

    def _event(self, message: bytes) -> Input | TerminalSize | None:
        if (said := decode(self._protocol, message)) is None:
            return None
        if said.channel is Channel.STDIN:
            return Input(said.data)
        return self._sizes.feed(said.data)


def asks_for_websocket(request: web.Request) -> bool:
    """Whether this is an upgrade to WebSocket."""
    return (
        request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"
        and "upgrade" in request.headers.get(hdrs.CONNECTION, "").lower()
    )


def refusal(request: web.Request) -> web.Response | None:
    """Why this upgrade cannot be, if so: as golang.org/x/net/websocket answers it."""
    if request.method != hdrs.METH_GET:
        return plain(405, "bad method")
    if chosen(offered(request)) is None:
        return plain(
            403,
            f"requested protocol(s) are not supported: [{' '.join(offered(request))}]; "
            f"supports [{' '.join(one for one in Subprotocol if one)}]",
        )
    return None


def socket_for(request: web.Request) -> Socket:
    """Ready to upgrade ``request``, in which ``refusal`` found nothing wrong."""
    protocol = chosen(offered(request))
    return web.WebSocketResponse(
        timeout=_CLOSING_SECONDS, autoping=False, compress=False, max_msg_size=_LARGEST, decode_text=False,
        protocols=[protocol] if protocol else [],
    )  # fmt: skip


def offered(request: web.Request) -> list[str]:
    """The subprotocols that the client names, in its order; of several headers the first, as Go and aiohttp have it."""
    names = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    return [name.strip() for name in names if name.strip()]
