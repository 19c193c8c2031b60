"""Where containers of a test tell what they do, and ask whether they may go on: HTTP on the machine's own address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class Post:
    """What came in, in its order.

    Attributes:
        url: where it listens; a container says ``wget -qO- URL/said/WORDS`` or asks for ``URL/may/THING``.
        said: every word that came to ``/said/``.
    """

    def __init__(self) -> None:
        self.url = ""
        self.said: list[str] = []
        self._allowed: set[str] = set()

    def allow(self, thing: str) -> None:
        """Answer 200 to ``/may/THING`` from now on; until then it is 404."""
        self._allowed.add(thing)

    async def handle(self, request: web.Request) -> web.Response:
        kind, word = request.match_info["kind"], request.match_info["word"]
        if kind == "said":
            self.said.append(word)
            return web.Response(text="noted\n")
        return web.Response(text="yes\n") if word in self._allowed else web.Response(status=404)


@asynccontextmanager
async def post_office(host: str) -> AsyncIterator[Post]:
    """A post that is open while the context lasts."""
    one = Post()
    application = web.Application()
    application.router.add_get("/{kind:said|may}/{word}", one.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    address, port = runner.addresses[0][:2]
    one.url = f"http://{address}:{port}"
    try:
        yield one
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
