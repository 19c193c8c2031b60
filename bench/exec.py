"""What the kubelet API adds to an exec: real server, real agent process, a client of its own, TLS over loopback.

    .venv/bin/python -m bench.exec [--count 500] [--megabytes 100]

Round trip: exec of ``true`` without a terminal, from the first byte of the connection (each exec needs one) to the
status, with a client certificate, beside the guest agent's own round trip and a plain ``GET /healthz``, one by one in
turn. Throughput: ``cat`` in a guest, input and output.
"""

import argparse
import asyncio
import json
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kubelet_bridge.aio.tasks import cancel
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.kubelet_api import health
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import FileCertificate, KeyPair
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.remotecommand import routes
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.headers import HeaderEncoder
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.access import Attributes, User
from kubelet_bridge.settings import cache_root
from kubelet_bridge.telemetry.logging import logging_to
from tests.support.authority import Authority
from tests.support.realagent import AgentWorkload, connected_agent

MIB = 1024 * 1024
CHUNK = 64 * 1024


# The client: a process of its own, without an event loop, so that only the server's work is measured.


def connect(directory: Path, port: int) -> tuple[ssl.SSLSocket, float]:
    """A TLS connection, and when its first byte was sent."""
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.load_cert_chain(directory / "client.pem")
    context.check_hostname = False
    begun = time.perf_counter()
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain), begun


class Connection:
    """One upgraded connection; reading gives (channel or stream id, data)."""

    def __init__(self, directory: Path, port: int, query: str, protocol: str) -> None:
        self.websocket = protocol == "websocket"
        self.socket, self.begun = connect(directory, port)
        self.rest = bytearray()
        self.shaken = time.perf_counter()
        self.socket.sendall(self._request(query))
        self._upgraded()

    def _request(self, query: str) -> bytes:
        method, upgrade, more = "POST", "SPDY/3.1", "Content-Length: 0\r\nX-Stream-Protocol-Version: v4.channel.k8s.io"
        if self.websocket:
            key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2tra2tra2tra2tra2traw=="
            method, upgrade, more = "GET", "websocket", f"{key}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io"
        return (
            f"{method} /exec/ns/pod/app?{query} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n"
            f"Upgrade: {upgrade}\r\n{more}\r\n\r\n"
        ).encode()

    def _upgraded(self) -> None:
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise RuntimeError(head.decode())

    def open(self, names: list[str]) -> None:
        if not self.websocket:
            deflate = HeaderEncoder()
            self.socket.sendall(b"".join(
                frames.syn_stream(2 * number + 1, deflate.encode({"streamtype": name}))
                for number, name in enumerate(names)
            ))  # fmt: skip

    def frame(self) -> tuple[int, bytes]:
        """The next with data; raises ``EOFError`` after the last."""
        while True:
            head = self._take(2 if self.websocket else 8)
            if self.websocket:
                if head[0] & 0x0F == 8:
                    raise EOFError
                length = head[1]
                if length == 126:
                    (length,) = struct.unpack(">H", self._take(2))
                elif length == 127:
                    (length,) = struct.unpack(">Q", self._take(8))
                data = self._take(length)
                if data[1:]:
                    return data[0], data[1:]
                continue
            number, length = struct.unpack(">II", head)
            data = self._take(length & 0xFFFFFF)
            if number == 0x80030007:
                raise EOFError
            if not number & 0x80000000 and data:
                return number, data

    def write(self, stream: int, data: bytes) -> None:
        if self.websocket:  # a mask of zeros changes nothing and costs nothing
            self.socket.sendall(b"\x82\xff" + struct.pack(">QI", len(data) + 1, 0) + b"\x00" + data)
        else:
            self.socket.sendall(frames.data_head(stream, len(data)) + data)

    def end(self, stream: int) -> None:
        self.socket.sendall(
            b"\x82\x82\x00\x00\x00\x00\xff\x00" if self.websocket else frames.data_head(stream, 0, fin=True)
        )

    def _take(self, count: int) -> bytes:
        while len(self.rest) < count:
            self._more()
        taken = bytes(self.rest[:count])
        del self.rest[:count]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(256 * 1024)
        if not data:
            raise EOFError
        self.rest += data


def round_trip(directory: Path, port: int, protocol: str) -> tuple[float, float]:
    """Seconds from the connection's first byte, and from the request, to the status."""
    connection = Connection(directory, port, "command=true&output=1&error=1", protocol)
    connection.open(["error", "stdout", "stderr"])
    _, status = connection.frame()
    now = time.perf_counter()
    if json.loads(status)["status"] != "Success":
        raise RuntimeError(status.decode())
    connection.socket.close()
    return now - connection.begun, now - connection.shaken


def plain_answer(directory: Path, port: int) -> tuple[float, float]:
    """As ``round_trip``, of a request that takes no work: what any HTTPS server of this kind needs."""
    connected, begun = connect(directory, port)
    shaken = time.perf_counter()
    connected.sendall(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
    answer = connected.recv(CHUNK)
    now = time.perf_counter()
    if b" 200 " not in answer:
        raise RuntimeError(answer.decode())
    connected.close()
    return now - begun, now - shaken


def throughput(directory: Path, port: int, protocol: str, way: str, size: int) -> float:
    """MiB/s."""
    script = f"head -c {size} /dev/zero | cat" if way == "output" else "cat > /dev/null"
    query = f"command=sh&command=-c&command={script.replace(' ', '%20')}&output=1"
    connection = Connection(directory, port, query + ("&input=1" if way == "input" else ""), protocol)
    connection.open(["error", "stdout"] if way == "output" else ["error", "stdin", "stdout"])
    if way == "input":
        block = b"x" * CHUNK
        for _ in range(size // CHUNK):
            connection.write(3, block)
        connection.end(3)
    got = 0
    try:
        while True:
            got += len(connection.frame()[1])
    except EOFError:
        pass
    if way == "output" and got < size:
        raise RuntimeError(f"{got} of {size} bytes")
    return size / MIB / (time.perf_counter() - connection.shaken)


def client(directory: Path, port: int) -> None:
    """Answers lines: what to measure, as JSON, with the figures."""
    for line in sys.stdin:
        what, protocol, *more = json.loads(line)
        if protocol == "plain":
            answer: object = plain_answer(directory, port)
        elif what == "trip":
            answer = round_trip(directory, port, protocol)
        else:
            answer = throughput(directory, port, protocol, what, *more)
        print(json.dumps(answer), flush=True)


# The server, and the figures.


async def direct(session: GuestSession) -> float:
    begun = time.perf_counter()
    async with await session.exec("", ["true"]) as stream:
        while await stream.read() is not None:
            pass
        await stream.result()
    return time.perf_counter() - begun


async def measure(options: argparse.Namespace, session: GuestSession, client: asyncio.subprocess.Process) -> None:
    async def ask(*what: object) -> list[float] | float:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(json.dumps(what).encode() + b"\n")
        answer: list[float] | float = json.loads(await client.stdout.readline())
        return answer

    def told(name: str, times: list[float], than: list[float] | None = None) -> None:
        middle, late = statistics.median(times), statistics.quantiles(times, n=100)[98]
        line = f"{name}: p50 {middle * 1000:.2f} ms, p99 {late * 1000:.2f} ms"
        if than is not None:
            ratios = middle / statistics.median(than), late / statistics.quantiles(than, n=100)[98]
            line += f"; ratio {ratios[0]:.2f} / {ratios[1]:.2f}"
        print(line, flush=True)

    own: list[float] = []
    whole: dict[str, list[float]] = {"websocket": [], "spdy": [], "plain": []}
    asked: dict[str, list[float]] = {"websocket": [], "spdy": [], "plain": []}
    for _ in range(options.count):
        own.append(await direct(session))
        for protocol in whole:
            trip = await ask("trip", protocol)
            assert isinstance(trip, list)
            whole[protocol].append(trip[0])
            asked[protocol].append(trip[1])
    told("the agent's own round trip", own)
    for protocol in whole:
        than = own if protocol != "plain" else None
        told(f"{protocol}, from its connection", whole[protocol], than)
        told(f"{protocol}, from its request", asked[protocol], than)
    for protocol in ("websocket", "spdy"):
        for way in ("output", "input"):
            print(f"{protocol}, {way}: {await ask(way, protocol, options.megabytes * MIB):.0f} MiB/s", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory, authority = Path(name), Authority()
        certificate = FileCertificate(KeyPair(*authority.serving(directory)))
        (directory / "ca.pem").write_bytes(authority.pem)
        authority.client(directory, "apiserver").rename(directory / "client.pem")

        async def ca() -> bytes:
            return authority.pem

        async def nobody(_: str) -> User | None:
            return None

        async def anything(_user: User, _wanted: Attributes) -> bool:
            return True

        tls = Tls(certificate, ClientCa(ca))
        async with connected_agent(directory, cache_root()) as session, tls:
            server = KubeletServer(
                "127.0.0.1", 0, tls=tls.current,
                routes=[*routes.routes(AgentWorkload(session).find, Times()), *health.routes("/healthz", {})],
                authenticator=Authenticator(nobody), authorizer=Authorizer(anything),
            )  # fmt: skip
            async with server:
                serving = asyncio.get_running_loop().create_task(server.run())
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "bench.exec", "client", str(directory), str(server.port),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=MIB, env={**os.environ},
                )  # fmt: skip
                try:
                    await measure(options, session, process)
                finally:
                    process.kill()
                    await process.wait()
                    await cancel(serving)


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        with tempfile.TemporaryFile("w") as lines, logging_to(lines):  # off the loop, as the daemon has it
            asyncio.run(main())
