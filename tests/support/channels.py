"""A WebSocket client of exec and attach, and the server with scripted workloads that it talks to."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from kubelet_bridge.kubelet_api.auth import TokenReviewer
from kubelet_bridge.kubelet_api.remotecommand import routes, run
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from tests.support.kubelet_endpoint import FULL, Serving, World
from tests.support.workloads import ScriptedWorkload

V5, V4, V4_64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
V1, V1_64, NONE = "channel.k8s.io", "base64.channel.k8s.io", ""
ALL = [V5, V4, V4_64, V1, V1_64, NONE]
STATUS = {V5, V4, V4_64}
OUT = "output=1&error=1"
HEADERS = {"Authorization": f"Bearer {FULL}"}

Served = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def workload() -> ScriptedWorkload:
    return ScriptedWorkload()


@pytest.fixture
def served(serving: Serving, workload: ScriptedWorkload) -> Served:
    def serve(times: Times | None = None, token: TokenReviewer | None = None) -> AbstractAsyncContextManager[World]:
        made = [*routes.routes(workload.find, times or Times()), *run.routes(workload.find)]
        return serving(routes=made, token=token)

    return serve


@dataclass
class Told:
    """What a client has heard."""

    out: bytes = b""
    err: bytes = b""
    error: bytes = b""
    close: int | None = None

    @property
    def status(self) -> Any:
        return json.loads(self.error)


@dataclass
class Client:
    """Speaks one of the subprotocols."""

    socket: aiohttp.ClientWebSocketResponse
    protocol: str

    @property
    def text(self) -> bool:
        return "base64" in self.protocol

    async def say(self, channel: int, data: bytes) -> None:
        if self.text:
            await self.socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self.socket.send_bytes(bytes([channel]) + data)

    async def end_input(self) -> None:
        await self.socket.send_bytes(b"\xff\x00")

    async def hear(self) -> tuple[int, bytes] | None:
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            assert self.text
            return int(message.data[0]), base64.b64decode(message.data[1:], validate=True)
        if message.type is aiohttp.WSMsgType.BINARY:
            assert not self.text
            return message.data[0], message.data[1:]
        return None

    async def all(self) -> Told:
        heard_on = {number: bytearray() for number in (1, 2, 3)}
        while (heard := await self.hear()) is not None:
            heard_on[heard[0]] += heard[1]
        told = Told(*(bytes(heard_on[number]) for number in (1, 2, 3)))
        told.close = self.socket.close_code
        return told


@asynccontextmanager
async def opened(world: World, path: str, protocol: str = V5, **more: Any) -> AsyncIterator[Client]:
    protocols = (protocol,) if protocol else ()
    async with (
        world.client() as session,
        session.ws_connect(world.url(path), protocols=protocols, headers=HEADERS, max_msg_size=0, **more) as socket,
    ):
        assert (socket.protocol or "") == protocol
        yield Client(socket, protocol)


def vanish(client: Client) -> None:
    """Without a word, the connection is reset."""
    transport = client.socket._conn.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.abort()
