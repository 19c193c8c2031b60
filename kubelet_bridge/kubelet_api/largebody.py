"""Answers of many megabytes: sent in pieces, because a piece is encrypted on the event loop, and compressed off it."""

import asyncio
import zlib

from aiohttp import web

PIECE = 256 * 1024
"""Bytes: a millisecond of TLS at most, on any machine of these years."""

_WORTH_IT = 16 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client that sent this header reads gzip (RFC 9110, section 12.5.3)."""
    qualities: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        try:
            qualities[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            qualities[name.strip()] = 0.0
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


async def send(
    request: web.Request, body: bytes, content_type: str, *, compress: bool = False
) -> web.StreamResponse:  # fmt: skip
    """Answer 200 with ``body``; with ``compress``, as gzip to clients that take it."""
    headers = {"Content-Type": content_type}
    if compress and len(body) >= _WORTH_IT and takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        body = await asyncio.to_thread(_gzip, body)
    if len(body) <= PIECE:
        return web.Response(body=body, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    view = memoryview(body)
    for start in range(0, len(view), PIECE):
        await response.write(view[start : start + PIECE])
        await asyncio.sleep(0)  # a socket that takes everything at once is no reason to let nobody else run
    await response.write_eof()
    return response


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, 1, _GZIP)
