"""The admin port: metrics and health of the process itself, over plain HTTP, for this machine (loopback by default)."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from kubelet_bridge.aio.listening import listening_socket

log = structlog.get_logger(__name__)


class AdminServer:
    """Serves ``routes`` while its context is entered; nothing to run beside it.

    Attributes:
        port: the one we listen on, known once entered (0 lets the kernel choose).
    """

    def __init__(self, host: str, port: int, routes: Iterable[web.AbstractRouteDef]) -> None:
        self.host, self.port = host, port
        app = web.Application()
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=75.0)

    async def __aenter__(self) -> Self:
        """Listen; raises ``SettingsError`` when that cannot be."""
        await self._runner.setup()
        listening = listening_socket(self.host, self.port)
        self.port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening).start()
        log.info("admin port", address=self.host, port=self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
