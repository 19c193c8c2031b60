"""The HTTPS server on the kubelet's port: listening, TLS, limits, life. What it serves are routes that are given to it.

Never validate Host (the API server passes on the client's) and never redirect (it refuses to follow).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kubelet_bridge.aio.listening import listening_socket
from kubelet_bridge.aio.tasks import every
from kubelet_bridge.kubelet_api import targets
from kubelet_bridge.kubelet_api.audit import OBSERVE_SESSION, ObserveSession
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.connections import Connections, Limits
from kubelet_bridge.kubelet_api.gate import Gate, ObserveRequest

log = structlog.get_logger(__name__)


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    """Drop aiohttp's tracebacks about requests that cannot be parsed: anybody can send them, and they quote headers."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_http_log = logging.getLogger("kubelet_bridge.kubelet_api.http")
_http_log.addFilter(_not_the_clients_fault)


def unobserved(_route: str, _method: str, _status: int) -> None:
    """Count nothing."""


class KubeletServer:
    """An async context manager that listens; ``run`` accepts. Between the two, clients wait in the kernel's queue.

    Attributes:
        port: the one we listen on, known once started (0 lets the kernel choose).
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: Callable[[], ssl.SSLContext],
        routes: Iterable[web.AbstractRouteDef],
        authenticator: Authenticator,
        authorizer: Authorizer,
        observe: ObserveRequest = unobserved,
        observe_session: ObserveSession | None = None,
        limits: Limits | None = None,
        grace: float = 5.0,
    ) -> None:
        self.host, self.port = host, port
        self._tls = tls
        self._limits = limits or Limits()
        self._connections = Connections(self._limits)
        gate = Gate(self._connections, authenticator, authorizer, observe)
        app = web.Application(middlewares=[gate.pass_through], client_max_size=self._limits.body)
        app.add_routes(routes)
        if observe_session is not None:
            app[OBSERVE_SESSION] = observe_session
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log,
            handler_cancellation=True,  # a handler ends when its client goes away
            shutdown_timeout=grace,
            keepalive_timeout=self._limits.idle,
            max_line_size=self._limits.line,
            max_field_size=self._limits.header,
            max_headers=self._limits.headers,
            auto_decompress=False,
        )
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address is not one of ours, or the port is taken.
        """
        self._socket = listening_socket(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        await self._runner.setup()
        targets.guard(self._http())
        log.info("kubelet API", address=self.host, port=self.port)

    async def stop(self) -> None:
        """Stop listening, give requests that are being served their grace, then cut them off."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        await self._runner.cleanup()

    def close_idle(self) -> None:
        """Have every client connect anew, at the latest after the request that is being served."""
        self._connections.close_idle()

    async def run(self) -> None:
        """Accept connections for ever."""
        if self._socket is None:
            raise RuntimeError("the server is not started")
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(every(min(30.0, self._limits.stalled / 4), self._prune), name="kubelet API: prune")
            while True:
                try:
                    connection, address = await loop.sock_accept(self._socket)
                except OSError as error:  # out of file descriptors, or the client has gone again
                    log.warning("a connection could not be accepted", error=str(error))
                    await asyncio.sleep(0.1)
                    continue
                if self._connections.admit(address[0]):
                    group.create_task(self._begin(connection, address[0]), name=f"kubelet API: {address[0]}")
                else:
                    log.warning("too many connections", peer=address[0])
                    connection.close()

    async def _prune(self) -> None:
        self._connections.prune()
        self._connections.abort_stalled(asyncio.get_running_loop().time())

    async def _begin(self, connection: socket.socket, peer: str) -> None:
        """TLS, then a first request within its time; the rest is the HTTP protocol's."""
        server = self._http()
        connection.setblocking(False)
        _tune(connection)
        trust = self._connections.trust
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                server, connection, ssl=self._tls(), ssl_handshake_timeout=self._limits.handshake,
                ssl_shutdown_timeout=self._limits.handshake,
            )  # fmt: skip
        except OSError as error:  # ssl.SSLError and every broken connection are one
            self._connections.failed(peer)
            log.debug("TLS handshake failed", peer=peer, error=str(error))
            return
        except asyncio.CancelledError:
            self._connections.failed(peer)
            raise
        begun = self._connections.opened(transport, peer)
        if trust != self._connections.trust:
            transport.abort()  # its certificate may be of an authority that is not believed any more
            return
        try:
            async with asyncio.timeout(self._limits.first_request):
                await begun.spoken.wait()
        except TimeoutError:
            log.debug("no request came", peer=peer)
            transport.abort()

    def _http(self) -> web.Server:
        if self._runner.server is None:
            raise RuntimeError("the server is not started")
        return self._runner.server


def _tune(connection: socket.socket) -> None:
    """Notice the dead as Go's servers do: a probe after 15 s of silence, nine of them."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 9)
