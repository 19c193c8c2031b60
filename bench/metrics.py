"""Measures scrapes: N Pods of two containers each, from samples in memory to the bytes that a scraper gets.

    python bench/metrics.py [--pods 1000,10000] [--rounds 5]

Through the real server and TLS. Beside how long each takes it tells how late the event loop was meanwhile.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import aiohttp
import msgspec

from kubelet_bridge.daemon.usage import Capacity, NodeMeter
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import SelfSignedCertificate
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.stats.routes import routes
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.access import Attributes, User
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import ObjectHead, PodKey
from kubelet_bridge.model.usage import (
    ContainerSample,
    FilesystemSample,
    InterfaceSample,
    Sample,
    Source,
    Usage,
)

MIB = 1024 * 1024
PATHS = ("/metrics/resource", "/metrics/cadvisor", "/stats/summary")


def pod(number: int) -> Cached:
    statuses = [
        {
            "name": name, "ready": True, "restartCount": 0, "image": f"registry.test/{name}:1", "imageID": "",
            "containerID": f"kubelet-bridge://vmi-{number}/{name}-0",
            "state": {"running": {"startedAt": "2026-03-01T12:00:00Z"}},
        }
        for name in ("app", "proxy")
    ]  # fmt: skip
    resources = {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    containers = [
        {"name": name, "image": f"registry.test/{name}:1", "resources": resources} for name in ("app", "proxy")
    ]
    metadata = {"name": f"web-{number:05}", "namespace": f"team-{number % 50}", "uid": f"uid-{number}"}
    made = msgspec.convert(
        {
            "metadata": metadata, "spec": {"containers": containers},
            "status": {"startTime": "2026-03-01T12:00:00Z", "containerStatuses": statuses},
        },
        Pod,
    )  # fmt: skip
    return Cached(ObjectHead(made.metadata), msgspec.json.encode(made))


def sample(now: int, seconds: float) -> Sample:
    usage = Usage(cpu=int(seconds * 1e9), memory=128 * MIB, working_set=96 * MIB, rss=64 * MIB, processes=12)
    return Sample(
        at=now, taken_at=now, source=Source.AGENT, instance="vmi", epoch="boot", machine=usage,
        containers=tuple(ContainerSample(name, 1, usage, 5 * MIB, 4096) for name in ("app", "proxy")),
        filesystems=(FilesystemSample("/dev/vda1", "/", 8192 * MIB, 1024 * MIB, 1000, 10),),
        interfaces=(InterfaceSample("eth0", 1000, 2000),),
    )  # fmt: skip


async def lateness(stop: asyncio.Event) -> float:
    """The longest that a timer of a millisecond was late, in seconds."""
    loop, worst = asyncio.get_running_loop(), 0.0
    while not stop.is_set():
        begun = loop.time()
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - begun - 0.001)
    return worst


async def measure(count: int, rounds: int, directory: Path) -> None:
    pods = [pod(number) for number in range(count)]
    meter = NodeMeter(
        "bench", directory, pods=lambda: pods, alive=lambda: {one.head.uid for one in pods},
        capacity=lambda: Capacity(64, 2**40),
    )  # fmt: skip
    keys = [PodKey(one.head.namespace, one.head.name, one.head.uid) for one in pods]
    async with meter:
        for turn in (1, 2):
            begun = time.perf_counter()
            for key in keys:
                meter.record(key, sample(time.time_ns(), turn))
            taken = (time.perf_counter() - begun) * 1e6 / count
        print(f"{count} Pods; a sample is counted in {taken:.0f} µs")
        begun = time.perf_counter()
        meter.freeze()
        print(f"  on the loop: {(time.perf_counter() - begun) * 1000:.1f} ms to freeze")
        print(f"  the loop is late by {await idle() * 1000:.1f} ms at most with nothing to do")
        async with served(meter, directory) as url, client() as session:
            for path in PATHS:
                for encoding in ("identity", "gzip"):
                    await scrape(session, f"{url}{path}", encoding, count, rounds)


async def idle() -> float:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(2.0, stop.set)
    return await lateness(stop)


@asynccontextmanager
async def served(meter: NodeMeter, directory: Path) -> AsyncIterator[str]:
    """The real server, to which everybody may come."""

    async def somebody(_token: str) -> User:
        return User(name="bench")

    async def anything(_user: User, _wanted: Attributes) -> bool:
        return True

    tls = Tls(SelfSignedCertificate(directory, "bench", lambda: ["127.0.0.1"]), None)
    server = KubeletServer(
        "127.0.0.1", 0, tls=tls.current, routes=routes(meter.freeze, {}), authenticator=Authenticator(somebody),
        authorizer=Authorizer(anything),
    )  # fmt: skip
    async with tls, server, asyncio.TaskGroup() as group:
        running = group.create_task(server.run())
        yield f"https://127.0.0.1:{server.port}"
        running.cancel()


def client() -> aiohttp.ClientSession:
    headers = {"Authorization": "Bearer x"}
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False), headers=headers, auto_decompress=False
    )  # fmt: skip


async def scrape(session: aiohttp.ClientSession, url: str, encoding: str, count: int, rounds: int) -> None:
    """The client is on the same loop: what it costs to receive is in the lateness, too."""
    times, size, stop = [], 0, asyncio.Event()
    async with asyncio.TaskGroup() as group:
        late = group.create_task(lateness(stop))
        for _ in range(rounds):
            begun = time.perf_counter()
            async with session.get(url, headers={"Accept-Encoding": encoding}) as response:
                assert response.status == 200
                size = 0
                async for chunk in response.content.iter_any():
                    size += len(chunk)
            times.append((time.perf_counter() - begun) * 1000)
        stop.set()
    path = url.partition("//")[2].partition("/")[2]
    print(
        f"  /{path} {encoding}: {median(times):.0f} ms ({median(times) * 1000 / count:.1f} ms per 1,000 Pods), "
        f"first {times[0]:.0f} ms, {size / MIB:.1f} MiB, loop late by {late.result() * 1000:.1f} ms at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", default="1000,10000")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for count in map(int, arguments.pods.split(",")):
            asyncio.run(measure(count, arguments.rounds, Path(directory) / str(count)))


if __name__ == "__main__":
    main()
