"""The bridge comes to its guests through KubeVirt's vsock stream: a stand-in for virt-api, and the agent's transport.

Where a kernel has no vsock, a Unix socket is as good: the agent is handed a connected socket in both cases.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.transport import GrpcConnection, GrpcTransport
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.errors import ApiError, Forbidden
from kubelet_bridge.guest.caller import ByteStream, GuestCaller
from kubelet_bridge.kube.bytestream import PROTOCOL, ByteStreams
from kubelet_bridge.kube.credentials import Credentials
from kubelet_bridge.model.guesttoken import SERVER_NAME
from kubelet_bridge.model.meta import PodKey
from tests.support.guests import NONCE, Node, pod_key, running, soon

KEY = pod_key("web")
PORT = 10251
PATH = "/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{name}/vsock"


class VirtApi:
    """Relays a WebSocket's binary frames to a socket in the guest, as virt-api and virt-handler do together."""

    def __init__(self, guest: Path) -> None:
        self.guest = guest
        self.refuse = 0
        self.asked: list[str] = []
        self.port = free_port()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["VirtApi"]:
        app = web.Application()
        app.add_routes([web.get(PATH, self._vsock)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _vsock(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.refuse:
            return web.Response(status=self.refuse, text="no")
        assert request.headers["Authorization"] == "Bearer us"
        try:
            reader, writer = await asyncio.open_unix_connection(self.guest)
        except OSError:
            return web.Response(status=500, text="connection refused")
        answer = web.WebSocketResponse(protocols=(PROTOCOL,))
        await answer.prepare(request)
        await answer.send_str("text means nothing")
        async with running(_relay(reader, answer)):
            async for message in answer:
                if message.type is aiohttp.WSMsgType.BINARY:
                    writer.write(message.data)
                    await writer.drain()
        writer.close()
        return answer


async def _relay(reader: asyncio.StreamReader, answer: web.WebSocketResponse) -> None:
    while data := await reader.read(700):  # frames begin and end anywhere
        await answer.send_bytes(data)
    await answer.close()


class Guest:
    """The agent's end: it waits to be called, then speaks first."""

    def __init__(self, path: Path, node: Node) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self._listening.setblocking(False)
        self.node = node
        seed = Seed(
            pod_uid=KEY.uid, host="127.0.0.1", port=node.port, server_name=SERVER_NAME, token="",
            ca=node.authority.certificate.decode(), vsock_port=PORT,
        )  # fmt: skip
        self.transport = GrpcTransport(seed, self._accept)

    async def _accept(self) -> socket.socket:
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        return accepted

    def close(self) -> None:
        self._listening.close()

    async def introduce(self) -> tuple[pb.Welcome, GrpcConnection]:
        connection = await self.transport.connect()
        hello = pb.Hello(
            protocol_version=1, pod_uid=KEY.uid, token_kind=pb.TOKEN_KIND_BOOT, nonce=NONCE,
            token=self.node.boot_token(KEY),
        )  # fmt: skip
        await connection.send(pb.GuestMessage(hello=hello).SerializeToString())
        welcome = await connection.receive()
        assert welcome is not None
        return welcome.welcome, connection


async def _us() -> str:
    return "Bearer us"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[VirtApi]:
    async with VirtApi(tmp_path / "guest").serving() as serving:
        yield serving


@pytest.fixture
async def streams(api: VirtApi) -> AsyncIterator[ByteStreams]:
    async with ByteStreams(Credentials(f"http://127.0.0.1:{api.port}", None, _us)) as opened:
        yield opened


@pytest.fixture
async def caller(node: Node, streams: ByteStreams) -> AsyncIterator[GuestCaller]:
    def dial(key: PodKey) -> AbstractAsyncContextManager[ByteStream]:
        return streams.vsock(key.namespace, key.name, PORT)

    one = GuestCaller(node.registry, node.server.front, dial)
    async with running(one.run()):
        yield one


@pytest.fixture
async def guest(tmp_path: Path, node: Node) -> AsyncIterator[Guest]:
    one = Guest(tmp_path / "guest", node)
    yield one
    one.close()


async def test_a_guest_is_called_and_is_a_guest_like_any_other(
    node: Node, api: VirtApi, caller: GuestCaller, guest: Guest
) -> None:
    node.registry.expect(KEY, boot="vmi-1")
    welcome, connection = await guest.introduce()
    assert welcome.session_token
    assert api.asked[0] == PATH.format(namespace="default", name="web") + f"?port={PORT}&tls=false"
    session = node.registry.session(KEY.uid)
    assert session is not None
    session.trust()
    node.manifests[KEY.uid] = pb.PodManifest(revision="1", registries_conf=b"x" * 300_000)
    session.refresh()
    received = await connection.receive()
    assert received is not None
    assert len(received.manifest.registries_conf) == 300_000
    records = [pb.LogRecord(container="app", position=one, data=b"y" * 9000) for one in range(1, 11)]
    await connection.send(pb.GuestMessage(logs=pb.LogBatch(records=records)).SerializeToString())
    acknowledged = await connection.receive()
    assert acknowledged is not None
    assert acknowledged.log_ack.position == 10
    await connection.close()
    await soon(lambda: node.registry.session(KEY.uid) is None, "the session has ended")
    again, connection = await guest.introduce()  # by the boot token, which was not confirmed
    assert again.session_token != welcome.session_token
    await connection.close()


async def test_a_guest_that_cannot_be_reached_is_called_again(
    node: Node, api: VirtApi, caller: GuestCaller, tmp_path: Path
) -> None:
    api.refuse = 400
    node.registry.expect(KEY, boot="vmi-1")
    await soon(lambda: len(api.asked) >= 2, "two calls")
    api.refuse = 0
    await soon(lambda: len(api.asked) >= 3, "and one that nobody answers in the guest")
    guest = Guest(tmp_path / "guest", node)
    _, connection = await guest.introduce()
    await connection.close()
    guest.close()


async def test_nobody_is_called_who_is_not_awaited(node: Node, api: VirtApi, caller: GuestCaller) -> None:
    node.registry.expect(KEY, boot="")
    async with node.agent(KEY) as agent:
        node.registry.expect(KEY, boot="vmi-1")
        await agent.settle(node)
        asked = len(api.asked)
        await asyncio.sleep(1.5)
        assert len(api.asked) == asked
        await node.registry.forget(KEY.uid)
    await asyncio.sleep(1.5)
    assert len(api.asked) == asked


async def test_what_the_api_server_refuses_is_an_error(api: VirtApi, streams: ByteStreams) -> None:
    api.refuse = 403
    with pytest.raises(Forbidden):
        async with streams.vsock("default", "web", PORT):
            pass
    api.refuse = 0
    with pytest.raises(ApiError):
        async with streams.vsock("default", "web", PORT):
            pass


async def test_a_guest_without_vsock_dials(node: Node) -> None:
    async def none() -> socket.socket:
        raise OSError("Address family not supported by protocol")

    seed = Seed(
        pod_uid=KEY.uid, host="127.0.0.1", port=node.port, server_name=SERVER_NAME, token="",
        ca=node.authority.certificate.decode(), vsock_port=PORT,
    )  # fmt: skip
    connection = await GrpcTransport(seed, none).connect()
    await connection.close()
