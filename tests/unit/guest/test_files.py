"""The server that hands out the agent."""

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
