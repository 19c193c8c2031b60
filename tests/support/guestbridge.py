"""The bridge's end of one guest's stream, over a real grpc.aio server with TLS, driven by the test."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import grpc.aio

from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.model.guesttoken import SERVER_NAME

BOOT_TOKEN = "boot-token"
POD_UID = "6c2b1f0e-0000-4000-8000-000000000001"
_CONNECT = "/kubelet_bridge.agent.v1.GuestBridge/Connect"


class Stream:
    """One stream of the guest's: what it said after Hello, and a way to answer."""

    def __init__(
        self, context: "grpc.aio.ServicerContext[pb.GuestMessage, pb.BridgeMessage | bytes]", hello: pb.Hello
    ) -> None:
        self._context = context
        self._saying = asyncio.Lock()  # gRPC takes one message at a time
        self.hello = hello
        self.said: asyncio.Queue[pb.GuestMessage] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.hang_up: asyncio.Future[tuple[grpc.StatusCode, str]] = asyncio.get_running_loop().create_future()

    async def say(self, **body: object) -> None:
        async with self._saying:
            await self._context.write(pb.BridgeMessage(**body))  # type: ignore[arg-type]

    async def say_nonsense(self, message: bytes) -> None:
        """Bytes that need not be a message."""
        async with self._saying:
            await self._context.write(message)

    async def heard(self, body: str) -> pb.GuestMessage:
        """The next message of this kind; others are dropped."""
        while True:
            message = await self.said.get()
            if message.WhichOneof("body") == body:
                return message

    def end(self, status: grpc.StatusCode, message: str = "") -> None:
        if not self.hang_up.done():
            self.hang_up.set_result((status, message))


class GuestBridge:
    """Welcomes guests as the test says."""

    def __init__(self) -> None:
        self.authority = Authority.create("node", now=datetime.now(UTC))
        self.port = 0
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.sessions: dict[str, str] = {}
        self.boot_tokens = {BOOT_TOKEN}
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.lie = False
        self.silent = False
        """Say nothing but Welcome."""
        self.acknowledging = False
        """Take logs and reports as a bridge does; otherwise only heartbeats are answered."""
        self.welcome = pb.Welcome(protocol_version=1, heartbeat_seconds=1.0, max_message_bytes=4 * 1024 * 1024)
        self._server: grpc.aio.Server | None = None

    def seed(self, **changes: object) -> Seed:
        seed = Seed(
            pod_uid=POD_UID,
            host="127.0.0.1",
            port=self.port,
            server_name=SERVER_NAME,
            ca=self.authority.certificate.decode(),
            token=BOOT_TOKEN,
        )
        return seed._replace(**changes)

    async def start(self) -> None:
        certificate = await asyncio.to_thread(self.authority.issue, now=datetime.now(UTC))
        credentials = grpc.ssl_server_credentials([(certificate.key, certificate.certificate)])
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect,
            request_deserializer=pb.GuestMessage.FromString,
            response_serializer=lambda said: said if isinstance(said, bytes) else said.SerializeToString(),
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("kubelet_bridge.agent.v1.GuestBridge", {"Connect": handler}),)
        )
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _connect(
        self,
        requests: AsyncIterator[pb.GuestMessage],
        context: "grpc.aio.ServicerContext[pb.GuestMessage, pb.BridgeMessage | bytes]",
    ) -> None:
        hello = (await anext(aiter(requests))).hello
        stream = Stream(context, hello)
        if self.refuse is not None:
            self.streams.put_nowait(stream)
            await context.abort(*self.refuse)
        known = self.sessions if hello.token_kind == pb.TOKEN_KIND_SESSION else self.boot_tokens
        if hello.token not in known:
            self.streams.put_nowait(stream)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")
        await context.write(pb.BridgeMessage(welcome=self._welcome(hello)))
        self.streams.put_nowait(stream)
        listening = asyncio.get_running_loop().create_task(self._listen(requests, stream))
        try:
            await asyncio.wait({listening, stream.hang_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            stream.ended.set()
        if stream.hang_up.done():
            await context.abort(*stream.hang_up.result())

    def _welcome(self, hello: pb.Hello) -> pb.Welcome:
        welcome = pb.Welcome()
        welcome.CopyFrom(self.welcome)
        if hello.token_kind == pb.TOKEN_KIND_SESSION:
            secret = self.sessions[hello.token]
        else:
            secret = hello.token
            welcome.session_token = f"session-{len(self.sessions)}"
            welcome.bridge_secret = f"secret-{len(self.sessions)}"
            self.sessions[welcome.session_token] = welcome.bridge_secret
        key = b"somebody else" if self.lie else secret.encode()
        welcome.proof = hmac.digest(key, hello.nonce, "sha256")
        return welcome

    async def _listen(self, requests: AsyncIterator[pb.GuestMessage], stream: Stream) -> None:
        async for message in requests:
            stream.said.put_nowait(message)
            if not self.silent:
                await self._answer(message, stream)

    async def _answer(self, message: pb.GuestMessage, stream: Stream) -> None:
        body = message.WhichOneof("body")
        if body == "heartbeat":
            await stream.say(heartbeat_ack=pb.HeartbeatAck(time=message.heartbeat.time))
        elif body == "report" and self.acknowledging:
            await stream.say(report_ack=pb.ReportAck(number=message.report.number))
        elif body == "logs" and self.acknowledging:
            for last in {(one.container, one.attempt): one for one in message.logs.records}.values():
                ack = pb.LogAck(container=last.container, attempt=last.attempt, position=last.position)
                await stream.say(log_ack=ack)
