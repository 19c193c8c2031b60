"""The server that hands out the agent."""

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from kubelet_bridge.aio.tasks import forever
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.guest.files import FileServer
from kubelet_bridge.model.guesttoken import SERVER_NAME
from tests.support.guests import Counted, running

CONTENT = b"#!/usr/bin/env python3\n" + bytes(range(256)) * 500
DIGEST = hashlib.sha256(CONTENT).hexdigest()
AUTHORITY = Authority.create("node", now=datetime.now(UTC))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FileServer]:
    certificate = AUTHORITY.issue(now=datetime.now(UTC))
    one = FileServer(
        "127.0.0.1", 0, content=CONTENT, digest=DIGEST, certificate=lambda: certificate, private=tmp_path,
        counters=Counted(), clock=time.monotonic,
    )  # fmt: skip
    async with one, running(forever("files", one.run)):
        yield one


def connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=AUTHORITY.certificate.decode()))


async def test_the_agent_is_served_by_its_digest_and_nothing_else_is(server: FileServer) -> None:
    base = f"https://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(connector=connector()) as http:
        async with http.get(f"{base}/agent/{DIGEST}.pyz", server_hostname=SERVER_NAME) as response:
            assert await response.read() == CONTENT
        async with http.head(f"{base}/agent/{DIGEST}.pyz", server_hostname=SERVER_NAME) as response:
            assert (response.status, response.content_length) == (200, len(CONTENT))
        for method, path in (
            ("GET", "/"), ("GET", f"/agent/{'0' * 64}.pyz"), ("GET", "/agent/../agent"),
            ("POST", f"/agent/{DIGEST}.pyz"),
        ):  # fmt: skip
            async with http.request(method, base + path, server_hostname=SERVER_NAME) as response:
                assert response.status in (404, 405)


async def test_a_stranger_is_not_believed(server: FileServer) -> None:
    other = Authority.create("node", now=datetime.now(UTC))
    trust = ssl.create_default_context(cadata=other.certificate.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"https://127.0.0.1:{server.port}/agent/{DIGEST}.pyz", server_hostname=SERVER_NAME)


@pytest.mark.parametrize(
    "line",
    [
        "GET /agent/../../../../etc/passwd HTTP/1.1", "GET /agent/%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
        "GET //etc/passwd HTTP/1.1", "GET /agent/ HTTP/1.1", "GET /agent HTTP/1.1", "GET / HTTP/1.1",
        f"GET /agent/{DIGEST}.pyz/ HTTP/1.1", f"GET /agent/{DIGEST}.pyz\0 HTTP/1.1", "CONNECT x:1 HTTP/1.1",
        f"DELETE /agent/{DIGEST}.pyz HTTP/1.1", "GET http://169.254.169.254/ HTTP/1.1", "nonsense",
        f"GET /{'x' * 100_000} HTTP/1.1",
    ],
)  # fmt: skip
async def test_nothing_but_the_agent_leads_anywhere(server: FileServer, line: str) -> None:
    status, body = await asked(server, f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status == 0 or 400 <= status < 500
    assert CONTENT[:20] not in body
    assert b"root:" not in body
    assert b"href" not in body


@pytest.mark.parametrize(
    "header",
    [
        "Range: bytes=0-0", "Range: bytes=-1", "Range: bytes=5-", "Range: bytes=999999999-", "Range: bytes=9-1",
        "Range: bytes=" + ",".join(f"{n}-" for n in range(300)), "Accept-Encoding: gzip, br",
        "Content-Length: 99999999999", "Transfer-Encoding: chunked", "Expect: 100-continue",
    ],
)  # fmt: skip
async def test_ranges_and_bodies_get_all_or_nothing(server: FileServer, header: str) -> None:
    request = f"GET /agent/{DIGEST}.pyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"
    status, body = await asked(server, request.encode(), end=True)
    assert (status, body) in ((200, CONTENT), (0, b"")) or status == 100 or status >= 400


async def asked(server: FileServer, request: bytes, *, end: bool = False) -> tuple[int, bytes]:
    """Status (0 without an answer) and body."""
    reader, writer = await _connect(server)
    answer = b""
    with contextlib.suppress(OSError):
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            while data := await reader.read(1 << 16):
                answer += data
                if end and answer.partition(b"\r\n\r\n")[2] == CONTENT:
                    break
    writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, body


async def _connect(server: FileServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    trust = ssl.create_default_context(cadata=AUTHORITY.certificate.decode())
    return await asyncio.open_connection("127.0.0.1", server.port, ssl=trust, server_hostname=SERVER_NAME)
