"""The TLS context of new connections, built again whenever the serving certificate or the clients' authority changes.

Client certificates are requested and not required: metrics-server and Prometheus come with tokens. One that is
presented is verified in the handshake, so that of an unknown authority ends there and not with a 401: Go's servers can
look at it later, Python's ``ssl`` cannot. It does not name the accepted authorities to the client either.
"""

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from kubelet_bridge.kubelet_api.certificates import KeyPair, ServingCertificate
from kubelet_bridge.kubelet_api.clientca import ClientCa

log = structlog.get_logger(__name__)


def server_context(pair: KeyPair, client_ca: bytes | None) -> ssl.SSLContext:
    """A context for TLS 1.2 and newer. Reads files: call it on a thread.

    Raises:
        OSError: a file cannot be read, or does not hold what it should (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session carries the client's certificate of before without another look at it.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.load_cert_chain(pair.certificate, pair.key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        # The authority may be signed by another that is not in the file; Go's servers take it as it is.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=client_ca.decode("ascii", errors="ignore"))
    return context


class Tls:
    """Keeps ``current``: a context that new connections are to use. An async context manager, then ``run``."""

    def __init__(self, certificate: ServingCertificate, client_ca: ClientCa | None) -> None:
        self._certificate = certificate
        self._client_ca = client_ca
        self._current: ssl.SSLContext | None = None
        self._changed = asyncio.Event()
        self._new_authority = False
        self._distrusted: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        await self._certificate.start()
        if self._client_ca is not None:
            await self._client_ca.start()
        self._current = await self._build()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._current = None

    def on_new_authority(self, act: Callable[[], None]) -> None:
        """Call ``act`` when client certificates are judged by another authority than before."""
        self._distrusted.append(act)

    def current(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        if self._current is None:
            raise RuntimeError("TLS is not started")
        return self._current

    async def run(self) -> None:
        """Follow certificate and authority for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._certificate.run(self._changed.set), name="serving certificate")
            if self._client_ca is not None:
                group.create_task(self._client_ca.run(self._authority_changed), name="client authority")
            group.create_task(self._rebuild(), name="TLS context")

    def _authority_changed(self) -> None:
        self._new_authority = True
        self._changed.set()

    async def _rebuild(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._current = await self._build()
            except OSError as error:
                log.error("the new certificates cannot be used; the old ones stay", error=str(error))
                continue
            log.info("new connections use the new certificates")
            if self._new_authority:
                self._new_authority = False
                for act in self._distrusted:
                    act()

    async def _build(self) -> ssl.SSLContext:
        ca = self._client_ca.pem if self._client_ca is not None else None
        return await asyncio.to_thread(server_context, self._certificate.pair, ca)
