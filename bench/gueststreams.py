"""Throughput of streams between the bridge and one guest: real guest server, real agent process, TLS over loopback.

    .venv/bin/python bench/gueststreams.py [--megabytes 200] [--connections 1]

Down: a forwarded connection to a server in the guest that sends; up: to one that takes. Beside them a plain TCP copy.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.session import GuestSession
from tests.support.guests import MemoryRecords, Node, pod_key

MIB = 1024 * 1024
KEY = pod_key("bench")


@asynccontextmanager
async def connected_agent(directory: Path) -> AsyncIterator[GuestSession]:
    """A guest with nothing to run but what it is asked to."""
    file = directory / "agent.pyz"
    await asyncio.to_thread(bundle.build, file, Path("~/.cache/kubelet-bridge").expanduser())
    async with Node(directory, MemoryRecords()).serving() as node:
        node.registry.expect(KEY, boot="vmi-1")
        node.manifests[KEY.uid] = pb.PodManifest(
            revision="1", pod_uid=KEY.uid, pod_name="bench", pod_namespace="default", boot="vmi-1",
            runtime=pb.RUNTIME_HOST,
        )  # fmt: skip
        seed = {
            "version": 1, "pod_uid": KEY.uid, "address": f"127.0.0.1:{node.port}",
            "server_name": "kubelet-bridge-guest", "ca": node.authority.certificate.decode(),
            "token": node.boot_token(KEY),
        }  # fmt: skip
        (directory / "agent.json").write_text(json.dumps(seed))
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(file), "run", "--config", "agent.json", "--state", "state", "--run", "run",
            cwd=directory, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            while (session := node.registry.session(KEY.uid)) is None or KEY.uid not in node.records.kept:
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            yield session
        finally:
            agent.terminate()
            await agent.wait()


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
        async with connected_agent(Path(name)) as session:
            tcp = await timed(plain(give_port), total)
            for way, work in (
                ("down", down(session, give_port)), ("up", up(session, take_port, total, taken)),
            ):  # fmt: skip
                speed = await timed(work, total)
                print(f"{way}: {speed:.0f} MiB/s; plain TCP {tcp:.0f} MiB/s; ratio {speed / tcp:.3f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
