"""Floods below the protocol, by a guest that was welcomed: the server stays small, and others get in meanwhile.

The server is a process of its own with the limits it has in earnest, so that its memory and its files can be counted.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.model import guesttoken
from kubelet_bridge.model.meta import PodKey
from tests.support.guestnode import KEY, OTHERS, authority, served
from tests.support.guests import NONCE, Agent
from tests.support.rawhttp2 import RawClient, frame

pytestmark = pytest.mark.timeout(300)

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_HEADERS = 4
BURST = 200
ROUNDS = 60
MIB = 1 << 20
GROWTH = 64 * MIB
"""What the server may grow by. It keeps no more than some windows and buffers of each connection."""

Attack = Callable[[RawClient, int], bytes]


def http2(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _streams(number: int) -> Iterator[int]:
    first = 101 + 2 * BURST * number
    return iter(range(first, first + 2 * BURST, 2))


def _reset(client: RawClient, number: int) -> bytes:
    """CVE-2023-44487: streams that are given up as soon as they are begun."""
    return b"".join(client.headers_frame(one) + http2(RESET, 0, one, b"\0\0\0\x08") for one in _streams(number))


def _continued(payload: bytes) -> Attack:
    """Headers that never end."""
    return lambda _, number: (b"" if number else http2(HEADERS, 0, 101)) + http2(CONTINUATION, 0, 101, payload) * BURST


def _bomb(_: RawClient, number: int) -> bytes:
    """One large header is put into the table, then named by one byte, thousands of times."""
    large = b"" if number else b"\x40\x01a\x7f\xe1\x1e" + b"x" * 4000
    return http2(HEADERS, END_HEADERS, 101 + 2 * number, large + b"\xbe" * 4000)


def _repeated(one: bytes) -> Attack:
    return lambda _client, _number: one * BURST


ATTACKS: dict[str, Attack] = {
    "pings": _repeated(http2(PING, 0, 0, b"12345678")),
    "settings": _repeated(http2(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff")),
    "empty settings": _repeated(http2(SETTINGS, 0, 0)),
    "priorities": _repeated(http2(PRIORITY, 0, 1, b"\0\0\0\0\x10")),
    "windows": _repeated(http2(WINDOW, 0, 0, b"\0\0\0\x01") + http2(WINDOW, 0, 1, b"\0\0\0\x01")),
    "empty data": _repeated(http2(DATA, 0, 1)),
    "goodbyes": _repeated(http2(GOAWAY, 0, 0, b"\0" * 8)),
    "unknown frames": _repeated(http2(77, 0, 0, b"x" * 100)),
    "streams": lambda client, number: b"".join(map(client.headers_frame, _streams(number))),
    "resets": _reset,
    "continuations": _continued(b"\x40\x01a\x01b" * 20),
    "empty continuations": _continued(b""),
    "header bomb": _bomb,
    "empty messages": _repeated(http2(DATA, 0, 1, b"\0\0\0\0\0" * 100)),
    "heartbeats": _repeated(
        http2(DATA, 0, 1, frame(pb.GuestMessage(heartbeat=pb.Heartbeat(time=1)).SerializeToString()) * 100)
    ),
}  # fmt: skip


class Process:
    """What a process uses."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")

    def memory(self) -> int:
        lines = dict(line.split(":", 1) for line in (self._place / "status").read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024

    def files(self) -> int:
        return len(list((self._place / "fd").iterdir()))

    def threads(self) -> int:
        return len(list((self._place / "task").iterdir()))


async def welcomed(port: int, made: Authority, key: PodKey) -> RawClient:
    client = await RawClient.connect(port, made.certificate)
    stream = await client.open()
    assert stream == 1
    hello = pb.Hello(
        protocol_version=1, pod_uid=key.uid, token_kind=pb.TOKEN_KIND_BOOT, nonce=NONCE,
        token=guesttoken.boot_token(made.key, key.uid),
    )  # fmt: skip
    await client.send(stream, frame(pb.GuestMessage(hello=hello).SerializeToString()))
    while not client.received:
        assert await client.pump(seconds=0.1)
    return client


async def comes_back(port: int, made: Authority, key: PodKey) -> None:
    """A guest is heard and welcome."""
    async with Agent(port, made.certificate, key) as agent:
        assert (await agent.introduce(guesttoken.boot_token(made.key, key.uid))).session_token


async def attack(client: RawClient, name: str, server: Process) -> int:
    """As long as the server bears it; the most memory that was seen."""
    largest = server.memory()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            for number in range(ROUNDS):
                await client.raw(ATTACKS[name](client, number))
                if not await client.pump(seconds=0.002):
                    break
                largest = max(largest, server.memory())
    return largest


async def test_floods(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    made = await asyncio.to_thread(authority, directory)
    async with served(directory) as (port, child):
        server = Process(child.pid)
        await comes_back(port, made, KEY)
        before, files, threads = server.memory(), server.files(), server.threads()
        for name, key in zip(ATTACKS, OTHERS, strict=False):
            client = await welcomed(port, made, key)
            largest = await attack(client, name, server)
            assert largest - before < GROWTH, name
            await comes_back(port, made, OTHERS[-1] if name == "pings" else key)  # somebody else; the guest itself
            client.abort()
        async with asyncio.timeout(30):
            while server.files() > files + 8:
                await asyncio.sleep(0.1)
        assert server.threads() <= threads + 8
        assert server.memory() - before < GROWTH
