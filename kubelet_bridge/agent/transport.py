"""The stream over HTTP/2 and TLS: gRPC, by grpclib, which nothing else imports.

A dead link is noticed by heartbeats (``session``) and, for data on its way, by the kernel (``TCP_USER_TIMEOUT``).
HTTP/2 pings are not used: a gRPC server takes frequent ones for an attack and hangs up ("too_many_pings").
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any, Awaitable, Callable, Iterator, cast

from google.protobuf.message import DecodeError
from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.events import _DispatchChannelEvents
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error
from multidict import MultiDict

from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.connection import MAX_RECEIVED, Refused
from kubelet_bridge.agent.v1 import agent_pb2 as pb

METHOD = "/kubelet_bridge.agent.v1.GuestBridge/Connect"
DIAL_SECONDS = 20.0
_SILENCE_MILLISECONDS = 30_000
_WINDOW = 1024 * 1024


class GrpcTransport:
    """Speaks over the socket that ``open_socket`` gives, or dials the bridge."""

    def __init__(self, seed: Seed, open_socket: Callable[[], Awaitable[socket.socket]] | None = None) -> None:
        self._seed = seed
        self._open_socket = open_socket
        self._tls = tls_context(seed.ca)

    async def connect(self) -> GrpcConnection:
        """As ``connection.Transport``."""
        channel = _Channel(await self._socket(), self._tls, self._seed.server_name)
        try:
            call = await channel.call()
        except BaseException as error:
            channel.hang_up()
            if isinstance(error, (StreamTerminatedError, asyncio.TimeoutError, H2Error)):
                raise ConnectionError(f"the bridge ended the connection: {error}") from None
            raise
        return GrpcConnection(channel, call)

    async def _socket(self) -> socket.socket:
        if self._open_socket is not None:
            with contextlib.suppress(OSError):  # this guest has no vsock: by the network, then
                return await self._open_socket()
        return await self._dial()

    async def _dial(self) -> socket.socket:
        """A TCP connection, to the first of the host's addresses that answers."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._seed.host, self._seed.port, type=socket.SOCK_STREAM)
        problem: OSError = OSError(f"{self._seed.host} has no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            try:
                _notice_silence(sock)
                sock.setblocking(False)
                await asyncio.wait_for(loop.sock_connect(sock, address), DIAL_SECONDS)
            except asyncio.TimeoutError:
                sock.close()
                problem = TimeoutError(f"{address[0]} does not answer")
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise problem


def tls_context(ca: str) -> ssl.SSLContext:
    """Trusts this one authority, verifies the name, speaks HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca)
    context.set_alpn_protocols(["h2"])
    return context


class GrpcConnection:
    """A ``connection.Connection``."""

    def __init__(self, channel: _Channel, call: _Call) -> None:
        self._channel = channel
        self._call = call

    async def send(self, message: bytes) -> None:
        """As ``connection.Connection``."""
        with _told(self._call):
            await self._call.send_message(message)

    async def receive(self) -> pb.BridgeMessage | None:
        """As ``connection.Connection``."""
        with _told(self._call):
            message = await self._call.recv_message()
            if message is None:
                await self._call.status()
            return message

    async def close(self) -> None:
        """As ``connection.Connection``."""
        self._channel.hang_up()


class _Bytes(CodecBase):
    """Messages are serialized by those who queue them (their size is the back-pressure)."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.FromString(data)


class _Call(Stream[bytes, pb.BridgeMessage]):
    """One call, which takes no message larger than ``MAX_RECEIVED``: grpclib has no such limit."""

    async def recv_message(self) -> pb.BridgeMessage | None:
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        with self._wrapper:
            header = await self._stream.recv_data(5)
            if not header:
                return None
            compressed, size = struct.unpack(">?I", header)
            if compressed or size > MAX_RECEIVED:
                raise ConnectionError(f"the bridge sent a message of {size} bytes, or a compressed one")
            data = await self._stream.recv_data(size)
            return pb.BridgeMessage.FromString(data)

    async def status(self) -> None:
        """Wait for the trailers; raises GRPCError unless they say OK."""
        if self._trailers_only:
            return
        with self._wrapper:
            trailers = await self._stream.recv_trailers()
            self._raise_for_grpc_status(*self._process_grpc_status(dict(trailers)))

    def refusal(self) -> Refused | None:
        """What the bridge said before it reset the stream, if anything."""
        try:
            self._maybe_raise()
        except GRPCError as error:
            return Refused(error.status.name, error.message or "")
        return None


class _Channel(Channel):
    """A connection over a socket that is open already, which can be dropped without waiting for the peer."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, server_name: str) -> None:
        config = Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
        super().__init__(server_name, codec=_Bytes(), ssl=tls, config=config)
        self._sock = sock
        self._server_name = server_name
        self._abort: Callable[[], None] = sock.close

    async def call(self) -> _Call:
        """Shake hands and open the one stream."""
        call = _Call(
            self, METHOD, cast(Any, MultiDict()), Cardinality.STREAM_STREAM, bytes, pb.BridgeMessage,
            codec=self._codec, status_details_codec=None, dispatch=_DispatchChannelEvents(),
        )  # fmt: skip
        await call.__aenter__()
        await asyncio.wait_for(call.send_request(), DIAL_SECONDS)
        return call

    def hang_up(self) -> None:
        """Drop the connection: closing in order would wait for a peer that may be gone."""
        self._abort()
        self.close()

    async def _create_connection(self) -> H2Protocol:
        transport, protocol = await self._loop.create_connection(
            self._protocol_factory, sock=self._sock, ssl=self._ssl, server_hostname=self._server_name
        )
        self._abort = transport.abort
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            transport.abort()
            raise ConnectionError("the other side does not speak HTTP/2")
        return protocol


@contextlib.contextmanager
def _told(call: _Call) -> Iterator[None]:
    """What grpclib raises, as ``connection.Connection`` says."""
    try:
        yield
    except GRPCError as error:
        raise Refused(error.status.name, error.message or "") from None
    except StreamTerminatedError as error:
        # A server that ends a call sends the status and then resets the stream: whichever is noticed first.
        raise call.refusal() or ConnectionError(str(error)) from None
    except (ProtocolError, H2Error, AssertionError, AttributeError) as error:
        # AssertionError: the stream ended within a message; AttributeError: the connection was closed under our hands.
        raise ConnectionError(f"the connection ended: {error!r}") from None
    except (DecodeError, ValueError, struct.error) as error:
        raise ConnectionError(f"the bridge sent what is no message: {type(error).__name__}") from None


def _notice_silence(sock: socket.socket) -> None:
    """Let the kernel give up after half a minute without an acknowledgement, instead of a quarter of an hour."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MILLISECONDS)
