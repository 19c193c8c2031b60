"""An upload server: takes one disk on the Pod's address and puts it into a claim's volume.

Paths and headers: pkg/common/common.go in CDI. A clone's bytes are the disk as it is: both ends of a clone are dev
hosts, so neither packs them as CDI's own cloner does.
"""

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.cdi import credentials, importer
from kubelet_bridge.devcluster.devhost.cdi.drafts import drafts
from kubelet_bridge.devcluster.devhost.cdi.progress import PORT
from kubelet_bridge.devcluster.devhost.cdi.work import Upload
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import BridgeError, Transient

CONTENT_TYPE = "x-cdi-content-type"
CLONES = ("blockdevice-clone", "filesystem-clone")
_PATHS = ("/v1beta1/upload", "/v1beta1/upload-async")
_BLOCK = 1 << 20


async def serve(
    work: Upload, image: ClaimedImage, address: str, tls: ssl.SSLContext, *, port: int = PORT,
    listening: Callable[[], None] = lambda: None,
) -> str:  # fmt: skip
    """Return when a disk has come and is in its volume: what kind of transfer that was, ``Clone`` or ``Upload``.

    A transfer that fails is answered with an error, and the next one is waited for. ``listening`` is called when the
    readiness probe would be answered: CDI starts the source of a clone not before that.

    Raises:
        Transient: the address cannot be listened on.
    """
    server = _Server(work, image)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=2.0, lingering_time=0.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, port, ssl_context=tls).start()
        except OSError as error:
            raise Transient(f"cannot listen on {address}: {error}", reason="NoAddress") from error
        listening()
        return await server.received()
    finally:
        await runner.cleanup()


class _Server:
    def __init__(self, work: Upload, image: ClaimedImage) -> None:
        self._work = work
        self._image = image
        self._one = asyncio.Lock()
        self._kind = ""
        self._done = asyncio.Event()

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes([web.get("/healthz", self._healthy), *(web.post(path, self._post) for path in _PATHS)])
        return application

    async def received(self) -> str:
        await self._done.wait()
        return self._kind

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _post(self, request: web.Request) -> web.Response:
        """The answer is on its way before the server ends: ``cleanup`` lets handlers finish."""
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        if credentials.common_name(peer) != self._work.client:
            raise web.HTTPUnauthorized
        async with self._one:  # one that has broken off may still be tidied up after
            if self._done.is_set():
                raise web.HTTPServiceUnavailable
            try:
                await self._take(request)
            except BridgeError as error:
                raise web.HTTPBadRequest(text=error.message) from error
            except ConnectionError as error:
                raise web.HTTPBadRequest(text="the transfer broke off") from error
            self._kind = "Clone" if _is_clone(request) else "Upload"
            self._done.set()
        return web.Response()

    async def _take(self, request: web.Request) -> None:
        received = 0
        async with drafts(self._image.path.parent) as directory:
            async with files.opened(directory / "source", "wb") as file:
                async for block in request.content.iter_chunked(_BLOCK):
                    received += await asyncio.to_thread(file.write, block)
            if request.content_length not in (None, received):
                raise Transient("the transfer broke off", reason="BrokenOff")
            work, image, raw = self._work, self._image, _is_clone(request)
            await importer.to_the_end(
                lambda: importer.fill(directory / "source", work.size, work.overhead, image, directory, raw=raw)
            )


def _is_clone(request: web.Request) -> bool:
    return request.headers.get(CONTENT_TYPE) in CLONES
