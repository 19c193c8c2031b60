"""The gRPC server that agents dial, behind its front: TLS, one method, and what happens to a stream on it."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import grpc
import structlog
from google.protobuf.message import DecodeError

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.authority import ServerCertificate
from kubelet_bridge.guest.ending import SessionEnd, Status
from kubelet_bridge.guest.front import Connection, Front
from kubelet_bridge.guest.handshake import Refusal, Refused
from kubelet_bridge.guest.limits import FrontLimits, SessionLimits
from kubelet_bridge.guest.ports import Counters
from kubelet_bridge.guest.registry import GuestRegistry, NotWelcome

if TYPE_CHECKING:  # they are generic in the stubs only
    _Context = grpc.aio.ServicerContext[bytes, bytes]
    _Handler = grpc.RpcMethodHandler[Any, Any]

log = structlog.get_logger(__name__)

METHOD = "/kubelet_bridge.agent.v1.GuestBridge/Connect"
_UNIX = "unix-abstract:"
_STREAMS_PER_CONNECTION = 2
_LOST = "the connection was lost"


class GuestServer:
    """An async context manager that listens; ``run`` accepts.

    Args:
        certificate: what new connections are to be served with, asked at the start and by ``renew``.
    """

    def __init__(
        self, host: str, port: int, *, registry: GuestRegistry, certificate: Callable[[], ServerCertificate],
        counters: Counters, clock: Callable[[], float], limits: SessionLimits | None = None,
        front_limits: FrontLimits | None = None, grace: float = 2.0,
    ) -> None:  # fmt: skip
        self._registry, self._certificate, self._counters = registry, certificate, counters
        self._limits, self._grace = limits or SessionLimits(), grace
        self._host, self._port, self._clock, self._front_limits = host, port, clock, front_limits or FrontLimits()
        self._directory: Path | None = None
        self._front: Front | None = None
        self._server: grpc.aio.Server | None = None
        self._calls = self._served = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def port(self) -> int:
        """The one that guests dial."""
        return self._opened.port

    @property
    def front(self) -> Front:
        """Where connections of another kind than TCP can be brought in."""
        return self._opened

    async def __aenter__(self) -> Self:
        """Listen. Raises ``SettingsError``."""
        self._directory = place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="kubelet-bridge-"))
        try:
            self._front = await Front(
                self._host, self._port, place, self._front_limits, self._clock, self._counters
            ).__aenter__()
            self._server = await self._serve(self._front)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        log.info("guests may connect", address=self._host, port=self._front.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registry.disconnect_all()
        if self._server is not None:
            await self._server.stop(self._grace)
        await self._idle.wait()
        if self._front is not None:
            await self._front.__aexit__(kind, error, trace)
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def run(self) -> None:
        """Accept connections for ever."""
        await self._opened.run()

    @property
    def _opened(self) -> Front:
        if self._front is None:
            raise RuntimeError("the guest server is not open")
        return self._front

    async def renew(self) -> None:
        """Serve with the newest certificate. Whoever is connected is asked to come again: a matter of a second.

        gRPC can change certificates under a running server (``dynamic_ssl_server_credentials``), asking for one at
        each handshake, on threads of its own. grpcio 1.85 crashed once in that when many connections began meanwhile;
        20,000 connections with up to 200 renewals a second did not bring it about again. A second server costs each
        guest one reconnect a year and needs nothing of that: 10,000 connections during 203 renewals, 19 of which met
        the moment of the change and had to be tried again.
        """
        former = self._server
        self._server = await self._serve(self._opened)
        self._registry.disconnect_all()
        if former is not None:
            await former.stop(self._grace)

    async def _serve(self, front: Front) -> grpc.aio.Server:
        if self._directory is None:
            raise RuntimeError("the guest server is not open")
        newest = self._certificate()
        server = grpc.aio.server(handlers=(_Method(self._counted),), options=_options(self._limits))
        credentials = grpc.ssl_server_credentials([(newest.key, newest.certificate)])
        self._served += 1
        target = self._directory / f"grpc-{self._served}"
        server.add_secure_port(f"unix:{target}", credentials)
        try:
            await server.start()
        except asyncio.CancelledError:
            await server.stop(None)  # gRPC complains of one that is dropped as it is
            raise
        front.target = target
        return server

    async def _counted(self, _requests: Any, context: "_Context") -> None:
        """A call, which has to have ended before the server has."""
        self._calls += 1
        self._idle.clear()
        try:
            await self._connect(context)
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _connect(self, context: "_Context") -> None:
        connection = self._opened.connection(context.peer().removeprefix(_UNIX))
        if connection is None:  # it has just ended
            await _finish(context, Status.PERMISSION_DENIED, "not by this way")
            return
        try:
            session = await self._registry.welcome(await self._hello(context), connection.peer)
        except NotWelcome as refusal:
            await self._refuse(connection, context, refusal.refused)
            return
        except SessionEnd as lost:
            await _finish(context, lost.status, lost.message)
            return
        end = SessionEnd(Status.OK, _LOST)
        try:
            with connection.welcomed():
                end = await session.run(_Wire(context))
        finally:
            self._registry.ended(session)
            log.info("guest disconnected", pod=str(session.key), uid=session.key.uid, status=end.status, why=str(end))
        await _finish(context, end.status, end.message)

    async def _hello(self, context: "_Context") -> pb.Hello:
        try:
            async with asyncio.timeout(self._limits.hello_seconds):
                raw = await _Wire(context).read()
        except TimeoutError as error:
            raise self._unheard("no hello came in time") from error
        try:
            message = pb.GuestMessage.FromString(raw or b"")
        except DecodeError as error:
            raise self._unheard("not a message of this protocol") from error
        if message.WhichOneof("body") != "hello":
            raise self._unheard("the first message must be a hello")
        return message.hello

    def _unheard(self, message: str) -> NotWelcome:
        self._counters.handshake("malformed")
        return NotWelcome(Refused(Refusal.INVALID_ARGUMENT, message, "malformed"))

    async def _refuse(self, connection: Connection, context: "_Context", refused: Refused) -> None:
        if refused.result == "rate" and not connection.proven:
            asyncio.get_running_loop().call_later(1.0, connection.abort)  # the answer goes out before
        await _finish(context, refused.status, refused.message)


class _Method(grpc.GenericRpcHandler):
    """The one method there is; messages stay bytes, so that what cannot be parsed is ours to judge."""

    def __init__(self, behaviour: Callable[[Any, "_Context"], Any]) -> None:
        self._handler: _Handler = grpc.stream_stream_rpc_method_handler(cast("Any", behaviour))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Handler | None":
        """The handler of a call."""
        return self._handler if handler_call_details.method == METHOD else None


class _Wire:
    """gRPC's half of ``session.Wire``. Raises ``SessionEnd`` when the connection is gone."""

    def __init__(self, context: "_Context") -> None:
        self._context = context

    async def read(self) -> bytes | None:
        """The next message; None at the end."""
        try:
            raw: object = await self._context.read()
        except grpc.aio.BaseError as error:
            raise SessionEnd(Status.OK, _LOST) from error
        return raw if isinstance(raw, bytes) else None

    async def write(self, message: bytes) -> None:
        """Send one."""
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            raise SessionEnd(Status.OK, _LOST) from error


async def _finish(context: "_Context", status: str, message: str) -> None:
    """The last word, if there is still somebody to hear it.

    A status that cannot be sent, gRPC logs with a traceback, unless it is told that the call was cancelled. An OK it
    would send itself, after us.
    """
    code = grpc.StatusCode.CANCELLED if status == Status.OK else grpc.StatusCode[status]
    try:
        await context.abort(code, message)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        raise asyncio.CancelledError from None


def _options(limits: SessionLimits) -> list[tuple[str, int]]:
    """Names as in gRPC's ``grpc/impl/channel_arg_names.h``."""
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
        ("grpc.http2.max_frame_size", limits.message_bytes),  # the agent pays for each frame, not for each byte
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.so_reuseport", 0),
    ]
