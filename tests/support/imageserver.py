"""An HTTP server of disk images that a test breaks and mends."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

_CHUNK = 1 << 18


class ImageServer:
    """Serves ``images`` by path.

    Attributes:
        flowing: while it is not set, half of an image is sent, and nothing after that.
        asked: how often each path was.
    """

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.asked: dict[str, int] = {}
        self.address = ""

    def url(self, name: str) -> str:
        return f"{self.address}{name}"

    def checksum(self, name: str) -> str:
        return f"sha256:{hashlib.sha256(self.images[name]).hexdigest()}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked[name] = self.asked.get(name, 0) + 1
        if (body := self.images.get(name)) is None:
            raise web.HTTPNotFound
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        half = len(body) // 2
        await response.write(body[:half])
        await self.flowing.wait()
        for start in range(half, len(body), _CHUNK):
            await response.write(body[start : start + _CHUNK])
        await response.write_eof()
        return response


@pytest.fixture
async def images() -> AsyncIterator[ImageServer]:
    one = ImageServer()
    application = web.Application()
    application.add_routes([web.get("/{name}", one.serve)])
    async with TestServer(application) as server:
        one.address = str(server.make_url("/"))
        yield one
        one.flowing.set()
