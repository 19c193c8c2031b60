"""Logs as a client of the kubelet API gets them: MB/s of a large log, its tail, and a quiet Pod beside floods.

    .venv/bin/python bench/logs.py [--megabytes 50] [--flood 50] [--seconds 10]

The real HTTPS server and log store; server and clients are processes of their own. Latency of a followed line is from
before it is appended to its arrival, on one clock. The flood is appended as a guest's batches are.
"""

import argparse
import asyncio
import json
import multiprocessing
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.daemon.podlogs import PodLogs
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import FileCertificate, KeyPair
from kubelet_bridge.kubelet_api.logs.handler import routes
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.access import User
from kubelet_bridge.model.core import Pod
from tests.support.authority import Authority

LINE = 100
BATCH = 48 * 1024
NAMES = ("large", "flood", "quiet")


def pod(name: str) -> Pod:
    status = {"name": "app", "state": {"running": {}}, "containerID": "kubelet-bridge://v/0", "restartCount": 0}
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "bench", "uid": name},
            "spec": {"containers": [{"name": "app", "image": "a"}]}, "status": {"containerStatuses": [status]},
        },
        Pod,
    )  # fmt: skip


def batches(size: int) -> Iterator[list[pb.LogRecord]]:
    """For ever; ``size`` bytes of text each."""
    position = 0
    while True:
        made = []
        for _ in range(size // LINE):
            position += 1
            made.append(pb.LogRecord(container="app", position=position, time=time.time_ns(), data=b"x" * (LINE - 1)))
        yield made


async def write_flood(store: LogStore, rate: float, stop: asyncio.Event) -> None:
    """``rate`` bytes a second, or as much as goes."""
    start, written = time.monotonic(), 0
    for batch in batches(BATCH):
        if stop.is_set():
            return
        await store.append("flood", batch)
        written += BATCH
        await asyncio.sleep(max(0.0, start + written / rate - time.monotonic()))


async def write_quiet(store: LogStore, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(0.05)
        now = time.monotonic_ns()
        record = pb.LogRecord(container="app", position=now, time=time.time_ns(), data=b"%d" % now)
        await store.append("quiet", [record])


def serve(directory: Path, options: argparse.Namespace, control: Any) -> None:
    asyncio.run(_serve(directory, options, control))


async def _serve(directory: Path, options: argparse.Namespace, control: Any) -> None:
    pods = {name: pod(name) for name in NAMES}

    async def token(_: str) -> User | None:
        return User(name="bench")

    async def access(*_: object) -> bool:
        return True

    authority = Authority()
    async with AsyncExitStack() as stack:
        limits = LogLimits(files=100, pod_bytes=2**40, reserve=0)
        store = await stack.enter_async_context(LogStore(directory / "logs", limits))
        logs = PodLogs(lambda _, name: pods.get(name), lambda _: None, store, lambda *_: None)  # type: ignore[arg-type, return-value]
        tls = Tls(FileCertificate(KeyPair(*authority.serving(directory))), None)
        await stack.enter_async_context(tls)
        server = KubeletServer(
            "127.0.0.1", 0, tls=tls.current, routes=routes(logs.open), authenticator=Authenticator(token),
            authorizer=Authorizer(access),
        )  # fmt: skip
        await stack.enter_async_context(server)
        written, made = 0, batches(BATCH)
        while written < options.megabytes * 10**6:
            await store.append("large", next(made))
            written += BATCH
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(one) for one in (server.run(), tls.run(), store.run())]
        control.send(server.port)
        while (command := await asyncio.to_thread(control.recv)) != "stop":
            stop, began = asyncio.Event(), time.process_time()
            writing = [group.create_task(write_quiet(store, stop))]
            if command == "flood":
                writing.append(group.create_task(write_flood(store, options.flood * 1e6, stop)))
            await asyncio.to_thread(control.recv)
            stop.set()
            await asyncio.wait(writing)
            control.send(time.process_time() - began)
        for task in tasks:
            task.cancel()


class Client:
    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self._http, self._url = http, f"https://127.0.0.1:{port}/containerLogs/bench"

    def get(self, name: str, query: str = "") -> Any:
        headers = {"Authorization": "Bearer bench"}
        timeout = aiohttp.ClientTimeout(total=None)
        return self._http.get(f"{self._url}/{name}/app{query}", headers=headers, timeout=timeout)

    async def read(self, name: str, query: str = "") -> tuple[int, float]:
        """Bytes, and seconds."""
        start, size = time.perf_counter(), 0
        async with self.get(name, query) as response:
            async for chunk in response.content.iter_any():
                size += len(chunk)
        return size, time.perf_counter() - start

    async def latencies(self, seconds: float) -> list[float]:
        """Milliseconds from the writing of each line of the quiet Pod's to its arrival."""
        found, end = [], time.monotonic() + seconds
        async with self.get("quiet", "?follow=true&tailLines=0") as response:
            while time.monotonic() < end:
                line = await response.content.readline()
                found.append((time.monotonic_ns() - int(line)) / 1e6)
        return found


async def drain(client: Client, read: list[int]) -> None:
    async with client.get("flood", "?follow=true&tailLines=0") as response:
        async for chunk in response.content.iter_any():
            read[0] += len(chunk)


def spread(values: list[float]) -> str:
    cuts = quantiles(values, n=100, method="inclusive")
    return f"p50 {cuts[49]:.1f} / p99 {cuts[98]:.1f} / max {max(values):.1f} ms"


async def measure(options: argparse.Namespace, port: int, control: Any) -> dict[str, str]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found: dict[str, str] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
        client = Client(http, port)
        await client.read("large", "?tailLines=1")
        for name, query in (
            ("plain", ""),
            ("with timestamps", "?timestamps=true"),
            ("since an hour", "?sinceSeconds=3600"),
        ):
            rates = [size / seconds / 1e6 for size, seconds in [await client.read("large", query) for _ in range(3)]]
            found[f"{options.megabytes} MB log, {name}"] = f"{max(rates):.0f} MB/s"
        for count in (10, 10_000):
            times = [(await client.read("large", f"?tailLines={count}"))[1] * 1000 for _ in range(30)]
            found[f"last {count} lines of it"] = spread(times)
        times = [(await client.read("large", "?sinceTime=2200-01-01T00:00:00Z"))[1] * 1000 for _ in range(10)]
        found["nothing recent in it"] = spread(times)
        control.send("quiet")
        found["a followed line, alone"] = spread(await client.latencies(options.seconds))
        control.send("")
        control.recv()
        control.send("flood")
        found[f"a followed line, {options.flood} MB/s flood beside it"] = spread(
            await client.latencies(options.seconds)
        )
        read = [0]
        tasks = [asyncio.get_running_loop().create_task(drain(client, read)) for _ in range(2)]
        start = time.perf_counter()
        found["the same, and two follow the flood"] = spread(await client.latencies(options.seconds))
        found["what those two read"] = f"{read[0] / (time.perf_counter() - start) / 1e6:.0f} MB/s"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        control.send("")
        control.recv()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--flood", type=int, default=50, help="MB/s")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kubelet-bridge-bench-") as made:
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(Path(made), options, theirs))
        server.start()
        found = asyncio.run(measure(options, ours.recv(), ours))
        ours.send("stop")
        server.join()
    print("\n".join(f"| {name} | {value} |" for name, value in found.items()))
    out = Path(__file__).parent / "results"
    out.mkdir(exist_ok=True)
    (out / "logs.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
