"""Throughput of streams between the bridge and one guest: real guest server, real agent process, TLS over loopback.

    .venv/bin/python bench/gueststreams.py [--megabytes 200] [--connections 1]

Down: a forwarded connection to a server in the guest that sends; up: to one that takes. Beside them a plain TCP copy.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.settings import cache_root
from tests.support.realagent import connected_agent

MIB = 1024 * 1024


async def serve_bytes(total: int) -> tuple[asyncio.Server, asyncio.Server, Callable[[], Awaitable[None]]]:
    """A server that sends ``total`` bytes, one that takes them and closes then; and a wait for the taker."""
    block = os.urandom(MIB)
    taken = asyncio.Event()

    async def give(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(total // MIB):
            writer.write(block)
            await writer.drain()
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = total
        while left and (data := await reader.read(MIB)):
            left -= len(data)
        taken.set()
        writer.close()

    async def wait_taken() -> None:
        await taken.wait()
        taken.clear()

    return (
        await asyncio.start_server(give, "127.0.0.1", 0),
        await asyncio.start_server(take, "127.0.0.1", 0),
        wait_taken,
    )


async def down(session: GuestSession, port: int) -> None:
    async with await session.forward(port) as stream:
        while (chunk := await stream.read()) is not None and chunk.data:
            pass
        await stream.close_stdin()


async def up(session: GuestSession, port: int, total: int, taken: Callable[[], Awaitable[None]]) -> None:
    block = os.urandom(MIB)
    async with await session.forward(port) as stream:
        for _ in range(total // MIB):
            await stream.write(block)
        await taken()


async def plain(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while await reader.read(MIB):
        pass
    writer.close()


async def timed(work: Awaitable[object], total: int) -> float:
    begun = time.perf_counter()
    await work
    return total / MIB / (time.perf_counter() - begun)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    total = options.megabytes * MIB
    giver, taker, taken = await serve_bytes(total)
    give_port, take_port = (one.sockets[0].getsockname()[1] for one in (giver, taker))
    with tempfile.TemporaryDirectory() as name:
        async with connected_agent(Path(name), cache_root()) as session:
            tcp = await timed(plain(give_port), total)
            for way, work in (
                ("down", down(session, give_port)), ("up", up(session, take_port, total, taken)),
            ):  # fmt: skip
                speed = await timed(work, total)
                print(f"{way}: {speed:.0f} MiB/s; plain TCP {tcp:.0f} MiB/s; ratio {speed / tcp:.3f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
