"""Runs port forwarding over the channels of a WebSocket: one connection for each port, all from the beginning."""

import asyncio
from typing import Literal

from aiohttp import WSMsgType, web

from kubelet_bridge.aio.idle import Idle
from kubelet_bridge.errors import BridgeError, Transient
from kubelet_bridge.kubelet_api.audit import Transfer
from kubelet_bridge.kubelet_api.portforward.channels import Subprotocol, decode, encode, greeting
from kubelet_bridge.kubelet_api.portforward.relay import Relay
from kubelet_bridge.kubelet_api.portforward.target import Target

Socket = web.WebSocketResponse[Literal[False]]

GONE = "client gone"
_PATIENCE = 0.5  # the client cannot see that the guest has ended before all is closed; container runtimes wait as long


class _Channels:
    """Sends messages, and notes when anything happens."""

    def __init__(self, socket: Socket, idle: Idle) -> None:
        self.socket, self.idle = socket, idle
        self.protocol = Subprotocol(socket.ws_protocol or "")
        self._kind = WSMsgType.TEXT if self.protocol.textual else WSMsgType.BINARY

    async def send(self, channel: int, data: bytes) -> None:
        """One message. Raises ``Transient``: the client has gone."""
        try:
            await self.socket.send_frame(encode(self.protocol, channel, data), self._kind)
        except ConnectionError as error:
            raise Transient(f"the client is gone: {error}", reason="ClientGone") from error
        self.idle.touch()


class _PortClient:
    """The channels of one port as the client of a relay. Holds one message; who brings the next waits."""

    def __init__(self, channels: _Channels, index: int, port: int) -> None:
        self.port = port
        self._channels, self._data = channels, 2 * index
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        self._over = False

    async def greet(self) -> None:
        """Say which port the channels are for."""
        for channel in (self._data, self._data + 1):
            await self._channels.send(channel, greeting(self.port))

    async def read(self) -> bytes:
        """The next message."""
        return await self._inbox.get()

    async def write(self, data: bytes) -> None:
        """One message."""
        await self._channels.send(self._data, data)

    async def guest_ended(self) -> None:
        """Cannot be said."""

    async def fail(self, message: str) -> None:
        """Say why the connection failed."""
        await self._channels.send(self._data + 1, message.encode(errors="replace"))

    async def feed(self, data: bytes) -> None:
        """For the socket's reader: what has come."""
        if not self._over:
            await self._inbox.put(data)

    def end(self) -> None:
        """Drop what comes from now on."""
        self._over = True
        while not self._inbox.empty():
            self._inbox.get_nowait()


class WebSocketForwarding:
    """Serves one socket that has been upgraded."""

    def __init__(self, socket: Socket, target: Target, transfer: Transfer, idle: float) -> None:
        self._socket, self._target, self._transfer = socket, target, transfer
        self._idle = Idle(idle)
        self._channels = _Channels(socket, self._idle)

    async def run(self, ports: list[int]) -> str:
        """Until all connections have ended, or the client has. Returns which, in a word or two; empty: the former."""
        clients = [_PortClient(self._channels, index, port) for index, port in enumerate(ports)]
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(self._receive(clients), name="port-forward: messages")
            idle = group.create_task(self._idle.expired(), name="port-forward: idle")
            done = group.create_task(self._forward_all(clients), name="port-forward: ports")
            parts = {gone, idle, done}
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                part.cancel()
            return "" if done.done() else "idle" if idle.done() else GONE

    async def _receive(self, clients: list[_PortClient]) -> None:
        async for message in self._socket:
            self._idle.touch()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            found = decode(self._channels.protocol, message.data)
            if found is not None and found[0] % 2 == 0 and found[0] // 2 < len(clients):
                await clients[found[0] // 2].feed(found[1])

    async def _forward_all(self, clients: list[_PortClient]) -> None:
        try:
            for client in clients:
                await client.greet()
        except Transient:
            return
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(self._forward(client), name=f"port-forward: port {client.port}")

    async def _forward(self, client: _PortClient) -> None:
        try:
            async with self._target.ports.connect(client.port) as guest:
                await Relay(client, guest, self._transfer, _PATIENCE).run()
        except BridgeError as error:
            try:
                await client.fail(self._target.failure(client.port, error))
            except Transient:
                return  # the client is what has failed
        finally:
            client.end()
