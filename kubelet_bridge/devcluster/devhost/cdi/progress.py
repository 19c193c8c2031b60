"""The progress of work on a Pod's address, as cdi-controller asks for it: Prometheus text on port 8443, over TLS.

Names: pkg/monitoring/metrics in CDI; it does not verify the certificate (BuildHTTPClient).
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

PORT = 8443
IMPORT = "kubevirt_cdi_import_progress_total"
CLONE = "kubevirt_cdi_clone_progress_total"


def text(metric: str, owner: str, percent: float) -> str:
    """One series; CDI reads it by a pattern, so its form is fixed."""
    return f'# TYPE {metric} counter\n{metric}{{ownerUID="{owner}"}} {percent:.2f}\n'


@contextlib.asynccontextmanager
async def served(address: str, tls: ssl.SSLContext, render: Callable[[], str]) -> AsyncIterator[None]:
    """Serve what ``render`` says. Without the address the work goes on, and nobody sees how far it is."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=render())

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, PORT, ssl_context=tls).start()
        except OSError as error:
            log.warning("progress is not served", address=address, error=str(error))
        yield
    finally:
        await runner.cleanup()
