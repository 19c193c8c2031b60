"""Measures port forwarding: server, TLS and SPDY to a sink or a source in the same process, from a client in another.

    python -m bench.portforward [--megabytes 500] [--rounds 3]

Beside it, with the same client: asyncio's streams over TLS and over TCP, which bound what the rest could reach.
"""

import argparse
import asyncio
import json
import logging
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import structlog

from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import FileCertificate, KeyPair
from kubelet_bridge.kubelet_api.portforward.routes import routes
from kubelet_bridge.kubelet_api.ports import Connection
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.headers import HeaderEncoder
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.access import User
from tests.support.authority import Authority

SINK, SOURCE = 80, 81
GOAL = 100.0
_PIECE = bytes(64 * 1024)
_FRAME = 32 * 1024  # what Go's io.Copy makes


class Sink:
    """A ``Connection`` that counts what it is given, and says so at the end."""

    def __init__(self) -> None:
        self.taken = 0
        self.over = asyncio.Event()
        self.told = False

    async def read(self) -> bytes:
        await self.over.wait()
        told, self.told = self.told, True
        return b"" if told else b"%d" % self.taken

    async def write(self, data: bytes) -> None:
        self.taken += len(data)

    async def write_eof(self) -> None:
        self.over.set()


class Source:
    """A ``Connection`` that gives a number of bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    async def read(self) -> bytes:
        piece = _PIECE[: self.left]
        self.left -= len(piece)
        return piece

    async def write(self, data: bytes) -> None: ...

    async def write_eof(self) -> None: ...


class BenchPorts:
    def __init__(self, size: int) -> None:
        self.size = size

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Connection]:
        yield Sink() if port == SINK else Source(self.size)


async def serve(directory: Path, size: int) -> None:
    """The server's process: prints its ports, and runs until its input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    pair = KeyPair(directory / "serving.crt", directory / "serving.key")
    secure = Tls(FileCertificate(pair), None)

    async def token(_token: str) -> User | None:
        return User(name="bench")

    async def access(_user: User, _wanted: object) -> bool:
        return True

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"d":
            for _ in range(0, size, len(_PIECE)):
                writer.write(_PIECE)
                await writer.drain()
        else:
            taken = 1
            while taken <= size:
                taken += len(await reader.read(1 << 18))
            writer.write(b"done")
        writer.close()

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(secure)
        server = await stack.enter_async_context(KubeletServer(
            "127.0.0.1", 0, tls=secure.current, routes=routes(lambda _ref: BenchPorts(size)),
            authenticator=Authenticator(token), authorizer=Authorizer(access),
        ))  # fmt: skip
        ports = {"spdy": server.port}
        for name, context in (("tls", secure.current()), ("tcp", None)):
            one = await asyncio.start_server(plain, "127.0.0.1", 0, ssl=context, limit=1 << 18)
            ports[name] = one.sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.run())
            await asyncio.to_thread(sys.stdin.read)
            task.cancel()


def receive(connection: socket.socket, size: int) -> None:
    buffer, got = bytearray(1 << 18), 0
    while got < size:
        piece = connection.recv_into(buffer)
        assert piece, f"ended after {got} bytes"
        got += piece


def send(connection: socket.socket, size: int, frame: bytes) -> None:
    batch = frame * 32
    whole, rest = divmod(size, len(batch))
    for _ in range(whole):
        connection.sendall(batch)
    connection.sendall(memoryview(batch)[:rest])


def plain_copy(connection: socket.socket, size: int, *, up: bool) -> float:
    begun = time.perf_counter()
    if up:
        connection.sendall(b"u")
        send(connection, size, bytes(_FRAME))
        assert connection.recv(10) == b"done"
    else:
        connection.sendall(b"d")
        receive(connection, size)
    return time.perf_counter() - begun


def spdy_copy(connection: socket.socket, size: int, *, up: bool) -> float:
    connection.sendall(
        b"POST /portForward/ns/pod HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        b"Authorization: Bearer x\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    assert b" 101 " in head, head
    encoder = HeaderEncoder()
    opening = b""
    for number, kind in ((1, "error"), (3, "data")):
        headers = {"streamtype": kind, "port": str(SINK if up else SOURCE), "requestid": "0"}
        opening += frames.syn_stream(number, encoder.encode(headers))
    begun = time.perf_counter()
    connection.sendall(opening + frames.data_head(1, 0, fin=True))
    if up:
        one = frames.data_head(3, _FRAME) + bytes(_FRAME)
        number = size // _FRAME
        send(connection, number * len(one), one)
        connection.sendall(frames.data_head(3, 0, fin=True))
        told, expected = b"", b"%d" % (number * _FRAME)
        while expected not in told:
            piece = connection.recv(4096)
            assert piece, told
            told += piece
    else:
        receive(connection, size)
    return time.perf_counter() - begun


def measure(ports: dict[str, int], context: ssl.SSLContext, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """MB/s by way and direction: the best of the rounds."""
    ways: dict[str, tuple[Callable[..., float], bool]] = {
        "tcp": (plain_copy, False), "tls": (plain_copy, True), "spdy": (spdy_copy, True),
    }  # fmt: skip
    figures: dict[str, dict[str, float]] = {name: {"up": 0.0, "down": 0.0} for name in ways}
    for _ in range(rounds):
        for name, (copy, secure) in ways.items():
            for direction in ("up", "down"):
                with socket.create_connection(("127.0.0.1", ports[name])) as plain:
                    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection = context.wrap_socket(plain, server_hostname="127.0.0.1") if secure else plain
                    with connection:
                        seconds = copy(connection, size, up=direction == "up")
                figures[name][direction] = max(figures[name][direction], size / 1e6 / seconds)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    if options.serve:
        asyncio.run(serve(options.serve, size))
        return
    authority = Authority()
    with tempfile.TemporaryDirectory() as directory:
        authority.serving(Path(directory))
        command = [
            sys.executable,
            "-m",
            "bench.portforward",
            "--megabytes",
            str(options.megabytes),
            "--serve",
            directory,
        ]
        with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as server:
            assert server.stdout is not None
            ports = json.loads(server.stdout.readline())
            figures = measure(ports, authority.client_context(), size, options.rounds)
            assert server.stdin is not None
            server.stdin.close()
    print(f"{options.megabytes} MB, best of {options.rounds}; MB/s up (client to Pod) and down")
    for name, label in (("tcp", "TCP copy"), ("tls", "TLS copy"), ("spdy", "port-forward (TLS, SPDY)")):
        print(f"{label:26}{figures[name]['up']:8.0f}{figures[name]['down']:8.0f}")
    for name in ("tls", "tcp"):
        up, down = (figures["spdy"][one] / figures[name][one] for one in ("up", "down"))
        print(f"{f'of a {name.upper()} copy':26}{up:8.2f}{down:8.2f}")
    worst = min(figures["spdy"].values())
    print(f"goal: {GOAL:.0f} MB/s: {'met' if worst >= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
