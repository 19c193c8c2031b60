"""The HTTPS server from which guests fetch their agent. It is public code: its digest is what guests trust."""

import asyncio
import logging
import shutil
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from kubelet_bridge.aio import files
from kubelet_bridge.guest.authority import ServerCertificate
from kubelet_bridge.guest.front import Front
from kubelet_bridge.guest.limits import KIB, FrontLimits
from kubelet_bridge.guest.ports import Counters

log = structlog.get_logger(__name__)

LIMITS = FrontLimits(unproven_bytes=64 * KIB, unproven_seconds=120.0, per_peer=32, total=1024)
"""Nobody is ever welcomed here: every connection has two minutes, and no request needs a large body."""
_REQUEST_SECONDS = 15.0
_PIECE = 64 * KIB
_UNHEARD = logging.getLogger(f"{__name__}.requests")
_UNHEARD.disabled = True
"""aiohttp writes a traceback for each malformed request: whoever can connect could fill a disk with them."""


class FileServer:
    """GET and HEAD ``/agent/<digest>.pyz``, and nothing else. An async context manager; ``run`` accepts.

    Args:
        content: the agent's file.
        digest: its SHA-256, hexadecimal.
        private: a directory for the certificate's file.
    """

    def __init__(
        self, host: str, port: int, *, content: bytes, digest: str, certificate: Callable[[], ServerCertificate],
        private: Path, counters: Counters, clock: Callable[[], float], limits: FrontLimits = LIMITS,
    ) -> None:  # fmt: skip
        self._host, self._port, self._certificate, self._pem = host, port, certificate, private / "guest-files.pem"
        self._content, self._counters, self._clock, self._limits = content, counters, clock, limits
        self._served: ServerCertificate | None = None
        self._tls = _context()
        app = web.Application(client_max_size=1)
        app.add_routes([web.get(f"/agent/{digest}.pyz", self._agent)])
        self._runner = web.AppRunner(
            app, access_log=None, logger=_UNHEARD, handler_cancellation=True, shutdown_timeout=1.0,
            keepalive_timeout=_REQUEST_SECONDS,
            max_line_size=2 * KIB, max_field_size=4 * KIB, max_headers=32, auto_decompress=False,
        )  # fmt: skip
        self._directory: Path | None = None
        self._front: Front | None = None

    @property
    def port(self) -> int:
        """The one that guests dial."""
        return self._opened.port

    async def __aenter__(self) -> Self:
        """Listen. Raises ``SettingsError``."""
        await self.renew()
        self._directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="kubelet-bridge-"))
        path = self._directory / "files"
        front = Front(self._host, self._port, path, self._limits, self._clock, self._counters)
        try:
            self._front = await front.__aenter__()
            await self._runner.setup()
            await web.UnixSite(self._runner, path, ssl_context=self._tls).start()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._front is not None:
            await self._front.__aexit__(kind, error, trace)
        await self._runner.cleanup()
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def run(self) -> None:
        """Accept connections for ever."""
        await self._opened.run()

    async def renew(self) -> None:
        """Serve new connections with the newest certificate. Raises ``OSError``."""
        newest = self._certificate()
        if newest is not self._served:
            await files.write_private(self._pem, newest.key + newest.certificate)
            await asyncio.to_thread(self._tls.load_cert_chain, self._pem)
            self._served = newest

    @property
    def _opened(self) -> Front:
        if self._front is None:
            raise RuntimeError("the file server is not open")
        return self._front

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        """In pieces: of all of it at once, a slow reader would have a copy of its own in our memory."""
        headers = {"Content-Type": "application/zip", "Cache-Control": "public, immutable"}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(self._content)
        await response.prepare(request)
        if request.method != "HEAD":
            for start in range(0, len(self._content), _PIECE):
                await response.write(self._content[start : start + _PIECE])
        await response.write_eof()
        return response


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    return context
