"""Measures claims: created → Bound beside the bare class behind them, and that an image is imported once.

    .venv/bin/python -m bench.volumes [--rounds 20@1,200@all] [--directory DIR]

On the development cluster with the dev host in mode ``none``: CDI is real, the storage is files. Times are taken by an
observer with a watch of its own, so they include the API server's fan-out to a second client.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.corridor import NODE, BridgeProcess, account, percentiles, running, until
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.identities import BRIDGE_NAMESPACE
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.devcluster.storageclasses import REPLICATED
from kubelet_bridge.errors import AlreadyExists
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.resources import (
    CONFIGMAPS,
    DATAVOLUMES,
    DEPLOYMENTS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    STORAGECLASSES,
)
from kubelet_bridge.model.storage import ClaimPhase, PersistentVolume, PersistentVolumeClaim
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE, PROVISIONER
from kubelet_bridge.translate.catalogue.golden import LABEL_IMAGE

Json = dict[str, Any]
OURS = "bench-vm-disk"
IMAGE = "bench-1"
SPELLINGS = ("bench-1", "Bench 1", "bench_1")
USERS = 3
KILLS = 2
_AT_ONCE = 32
_CATALOGUE = "kubelet-bridge-images"


class Observer:
    """Notes when each of ``names`` was seen first, and when Bound, in seconds of one clock."""

    def __init__(self, client: Client, namespace: str, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._clock = asyncio.get_running_loop().time
        self.marks: dict[str, dict[str, float]] = {}
        self.claims = Informer(client, PERSISTENTVOLUMECLAIMS, namespace=namespace)
        self.claims.subscribe(self._claim)

    def _claim(self, kind: EventKind, cached: Cached) -> None:
        if kind is EventKind.DELETED or cached.head.name not in self._names:
            return
        marks = self.marks.setdefault(cached.head.name, {})
        marks.setdefault("created", self._clock())
        if msgspec.json.decode(cached.raw, type=PersistentVolumeClaim).phase is ClaimPhase.BOUND:
            marks.setdefault("bound", self._clock())

    def spans(self) -> list[float]:
        """Milliseconds from created to Bound, of every claim that is."""
        return [(one["bound"] - one["created"]) * 1000 for one in self.marks.values() if "bound" in one]

    def is_bound(self, name: str) -> bool:
        return "bound" in self.marks.get(name, {})


def claim(name: str, storage_class: str, source: str = "") -> Json:
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": {ANNOTATION_SOURCE: source} if source else {}},
        "spec": {
            "storageClassName": storage_class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    }  # fmt: skip


def own_class() -> Json:
    """Bound without a Pod, as the class behind it is: else the scheduler would be measured."""
    return {
        "apiVersion": STORAGECLASSES.api_version, "kind": "StorageClass", "metadata": {"name": OURS},
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
        "parameters": {"backingClass": REPLICATED, "node": NODE},
    }  # fmt: skip


async def one_round(client: Client, bridge: BridgeProcess, storage_class: str, count: int, pace: str) -> Json:
    namespace = await new_namespace(client, f"bench-{storage_class}-{count}")
    names = [f"claim-{number}" for number in range(count)]
    observer, loop = Observer(client, namespace, names), asyncio.get_running_loop()
    before, start = await bridge.counters(), loop.time()
    async with running(observer.claims):
        if pace == "all":
            await _create(client, namespace, storage_class, names)
            await until(lambda: all(map(observer.is_bound, names)), "all claims Bound", 300)
        else:
            for name in names:
                await client.create(PERSISTENTVOLUMECLAIMS, namespace, claim(name, storage_class))
                await until(lambda name=name: observer.is_bound(name), f"{name} Bound", 60)
        up = loop.time() - start
        bound = await bridge.counters()
    start = loop.time()
    await client.delete(NAMESPACES, None, namespace)
    await _nothing_left(client, namespace)
    after, p = await bridge.counters(), percentiles(observer.spans())
    figures = {
        "created → Bound, p50 ms": p[0], "created → Bound, p99 ms": p[1], "Bound": len(observer.spans()),
        "all Bound after, s": up, "nothing left after, s": loop.time() - start,
        "bridge's requests per claim until Bound": _requests(bound - before) / count,
        "bridge's requests per claim's life": _requests(after - before) / count,
    }  # fmt: skip
    return {"class": storage_class, "claims": count, "pace": pace, "figures": figures}


async def _create(client: Client, namespace: str, storage_class: str, names: list[str]) -> None:
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with turn:
            await client.create(PERSISTENTVOLUMECLAIMS, namespace, claim(name, storage_class))

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))


def _requests(done: Counter[str]) -> int:
    return done["read"] + done["write"]


async def _nothing_left(client: Client, namespace: str) -> None:
    """PersistentVolumes outlive their namespace; the next round must not be held up by this one's."""

    async def left() -> int:
        found = msgspec.json.decode(await client.list(PERSISTENTVOLUMES))["items"]
        volumes = (msgspec.convert(one, PersistentVolume) for one in found)
        return sum(one.spec.claim_ref is not None and one.spec.claim_ref.namespace == namespace for one in volumes)

    try:
        async with asyncio.timeout(300):
            while await left():
                await asyncio.sleep(0.5)
    except TimeoutError:
        print(f"gave up: {await left()} volumes of {namespace} are left", file=sys.stderr)


async def new_namespace(client: Client, stem: str) -> str:
    name = f"{stem}-{os.getpid()}"
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await account(client, name)
    return name


class Imports:
    """DataVolumes that fetch an image, as a watch sees them come; and downloads, as the web server does."""

    def __init__(self, client: Client) -> None:
        self.seen: dict[str, str] = {}
        self.downloads = 0
        self.datavolumes = Informer(client, DATAVOLUMES, namespace=BRIDGE_NAMESPACE, label_selector=LABEL_IMAGE)
        self.datavolumes.subscribe(lambda _, cached: self.seen.setdefault(cached.head.uid, cached.head.name))

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The URL of an image that takes some seconds to fetch: long enough for a bridge to die meanwhile."""

        async def serve(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(16 << 20)})
            await response.prepare(request)
            if request.method == "GET":
                self.downloads += 1
                for _ in range(16):
                    await response.write(bytes(1 << 20))
                    await asyncio.sleep(0.5)
            return response

        application = web.Application()
        application.add_routes([web.get("/disk.img", serve)])
        async with TestServer(application) as server:
            yield str(server.make_url("/disk.img"))


async def single_flight(cluster: DevCluster, client: Client) -> Json:
    """Pods, a Deployment's replicas and claims of one image, spelled in several ways, while the bridge is killed."""
    imports = Imports(client)
    namespace = await new_namespace(client, "bench-image")
    async with imports.served() as url, running(imports.datavolumes):
        await _catalogue(client, url)
        await restart(cluster)
        for number in range(USERS):
            name = f"pod-{number}"
            await client.create(PODS, namespace, _pod(name, SPELLINGS[number % len(SPELLINGS)]))
            await client.create(PERSISTENTVOLUMECLAIMS, namespace, claim(f"claim-{number}", OURS, f"image:{IMAGE}"))
        await client.create(DEPLOYMENTS, namespace, _deployment())
        for _ in range(KILLS):
            await asyncio.sleep(2)
            await restart(cluster)
        observer = Observer(client, namespace, [f"claim-{number}" for number in range(USERS)])
        pods = Informer(client, PODS, namespace=namespace, label_selector="bench=image")
        async with running(observer.claims, pods):
            await until(lambda: sum(map(_is_ready, pods.all())) == 2 * USERS, "all Pods Ready", 400)
            await until(lambda: len(observer.spans()) == USERS, "all claims Bound", 120)
            done = {"Pods Ready": sum(map(_is_ready, pods.all())), "claims Bound": len(observer.spans())}
    await client.delete(NAMESPACES, None, namespace)
    await client.delete(CONFIGMAPS, BRIDGE_NAMESPACE, _CATALOGUE)
    for name in {*imports.seen.values()}:
        await client.delete(DATAVOLUMES, BRIDGE_NAMESPACE, name)
    return {**done, "bridge killed": KILLS, "imports": len(imports.seen), "downloads": imports.downloads}


async def restart(cluster: DevCluster) -> None:
    """Kill the bridge, in the middle of whatever it does, and start it again."""
    row = next(row for row in await cluster.status() if row.name == NODE)
    if row.pid:
        os.kill(row.pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
    await cluster.start(NODE)


async def _catalogue(client: Client, url: str) -> None:
    images = {"images": [{"name": IMAGE, "minimumDisk": "16Mi", "source": {"http": {"url": url}}}]}
    body = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": _CATALOGUE}, "data": {"images.yaml": json.dumps(images)},
    }  # fmt: skip
    await client.create(CONFIGMAPS, BRIDGE_NAMESPACE, body)


def _pod(name: str, image: str) -> Json:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "image"}},
        "spec": {
            "nodeName": NODE, "enableServiceLinks": False, "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {"name": "vm", "image": image, "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}}
            ],
        },
    }  # fmt: skip


def _deployment() -> Json:
    pod = _pod("replica", SPELLINGS[-1])
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "replicas"},
        "spec": {
            "replicas": USERS, "selector": {"matchLabels": {"bench": "image", "of": "deployment"}},
            "template": {"metadata": {"labels": {"bench": "image", "of": "deployment"}}, "spec": pod["spec"]},
        },
    }  # fmt: skip


def _is_ready(cached: Cached) -> bool:
    conditions = msgspec.json.decode(cached.raw, type=Pod).status.conditions
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def table(results: list[Json]) -> str:
    """Ours beside the bare class, and the ratio, for each round."""
    pairs = list(zip(results[::2], results[1::2], strict=True))
    heads = [f"{ours['claims']} {'at once' if ours['pace'] == 'all' else 'one by one'}" for ours, _ in pairs]
    lines = ["| figure | " + " | ".join(f"{head}: ours / bare / ratio" for head in heads) + " |"]
    lines.append("|---" * (len(pairs) + 1) + "|")
    for name in results[0]["figures"]:
        cells = []
        for ours, bare in pairs:
            one, other = ours["figures"][name], bare["figures"][name]
            cells.append(f"{one:,.1f} / {other:,.1f}" + (f" / {one / other:.2f}" if other else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def measure(cluster: DevCluster, rounds: str) -> tuple[list[Json], Json]:
    state = await cluster.up(Options(bridge=True))
    row = next(row for row in await cluster.status() if row.name == NODE)
    bridge = BridgeProcess(row.pid or 0, f"http://127.0.0.1:{state.ports.bridge_admin}/metrics")
    results = []
    async with cluster.client() as client:
        with contextlib.suppress(AlreadyExists):
            await client.create(STORAGECLASSES, None, own_class())
        for count, pace in (one.split("@") for one in rounds.split(",")):
            for storage_class in (OURS, REPLICATED):
                results.append(await one_round(client, bridge, storage_class, int(count), pace))
                said = ", ".join(f"{name} {value:,.1f}" for name, value in results[-1]["figures"].items())
                print(f"{count} claims of {storage_class}: {said}", file=sys.stderr)
        return results, await single_flight(cluster, client)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", default="20@1,200@all", help="CLAIMS@1, each after the last is Bound, or @all; …")
    parser.add_argument("--directory", type=Path, help="a development cluster to use; else one is made and removed")
    arguments = parser.parse_args()
    made = None if arguments.directory else tempfile.mkdtemp(prefix="kubelet-bridge-bench-")
    cluster = DevCluster(arguments.directory or Path(made or "") / "cluster", Progress())
    try:
        results, imports = await measure(cluster, arguments.rounds)
    finally:
        if made:
            await cluster.down()
            Path(made).rmdir()
    print(table(results))
    print("\none image: " + ", ".join(f"{value} {name}" for name, value in imports.items()))
    out = Path(__file__).parent / "results"
    out.mkdir(exist_ok=True)
    (out / "volumes.json").write_text(json.dumps([*results, imports], indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
