"""The client against a socket that answers as podman does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.agent.podman.client import ApiError, Client
from kubelet_bridge.agent.podman.process import HijackedProcess
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Server:
    """Answers each request with what ``answers`` has for its path, and closes."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[bytes] = []
        self.received = b""
        self.handled = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        path = head.split(b" ")[1].decode().partition("?")[0].removeprefix("/v4.0.0/libpod")
        writer.write(self.answers[path])
        if b"Upgrade: tcp" in head:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            while data := await reader.read(100):
                self.received += data
            writer.write(b"\2\0\0\0\0\0\0\3bye")
        writer.close()
        self.handled += 1


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    served = Server()
    listener = await asyncio.start_unix_server(served.handle, str(tmp_path / "podman.sock"))
    async with listener:
        yield served
        while served.handled < len(served.requests):
            await asyncio.sleep(0)


async def test_calls(server: Server, tmp_path: Path) -> None:
    client = Client(str(tmp_path / "podman.sock"))
    server.answers = {
        "/one": b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',
        "/chunked": b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"b\r\n4\r\n":2}\r\n0\r\n\r\n',
        "/nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/refused": b'HTTP/1.1 404 Not Found\r\nContent-Length: 29\r\n\r\n{"message":"no such x","c":1}',
        "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        "/html": b"HTTP/1.1 200 OK\r\n\r\n<html>",
    }
    assert await client.call("GET", "/one", {"q": "a b"}) == {"a": 1}
    assert server.requests[0].startswith(b"GET /v4.0.0/libpod/one?q=a+b HTTP/1.1\r\n")
    assert await client.call("POST", "/chunked", body={}) == {"b": 2}
    assert await client.call("DELETE", "/nothing") is None
    with pytest.raises(ApiError, match="no such x") as caught:
        await client.call("GET", "/refused")
    assert caught.value.status == 404
    with pytest.raises(ConnectionError):
        await client.call("GET", "/cut")
    with pytest.raises(ApiError, match="not JSON"):
        await client.call("GET", "/html")


async def test_lines_come_as_they_are_written(server: Server, tmp_path: Path) -> None:
    server.answers = {"/pull": b'HTTP/1.1 200 OK\r\n\r\n{"stream":"x"}\n\n{"error":"y"}'}
    lines = [line async for line in Client(str(tmp_path / "podman.sock")).lines("POST", "/pull")]
    assert lines == [{"stream": "x"}, {"error": "y"}]


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await Client(str(tmp_path / "none.sock")).call("GET", "/_ping")


async def test_hijacked_process_has_both_outputs_and_a_half_close(server: Server, tmp_path: Path) -> None:
    server.answers = {"/exec/1/start": b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n\1\0\0\0\0\0\0\2hi"}
    reader, writer = await Client(str(tmp_path / "podman.sock")).hijack("/exec/1/start", body={"Tty": False})
    killed = []

    async def resize(columns: int, rows: int) -> None: ...

    async def result() -> int:
        return 3

    async def kill() -> None:
        killed.append(True)

    process = HijackedProcess(reader, writer, tty=False, resize=resize, result=result, kill=kill)
    await process.write(b"data")
    assert await process.read() == (pb.CHANNEL_STDOUT, b"hi")
    await process.close_stdin()
    assert await process.read() == (pb.CHANNEL_STDERR, b"bye")
    assert await process.read() == (pb.CHANNEL_STDOUT, b"")
    assert await process.read() == (pb.CHANNEL_STDERR, b"")
    assert await process.read() is None
    assert await process.wait() == (3, 0)
    await process.kill()
    assert (server.received, killed) == (b"data", [])


async def test_refused_hijack_says_why(server: Server, tmp_path: Path) -> None:
    server.answers = {"/x": b'HTTP/1.1 409 Conflict\r\nContent-Length: 18\r\n\r\n{"message":"busy"}'}
    with pytest.raises(ApiError, match="busy"):
        await Client(str(tmp_path / "podman.sock")).hijack("/x")
