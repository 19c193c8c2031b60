"""Measures the corridor: N Pods in and out, through real controllers, on the dev host in mode ``none``.

    python bench/corridor.py [--rounds 20@1,100@20,1000@20] [--directory DIR]

Times are taken by an observer with watches of its own, so they include the API server's fan-out to a second client.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VirtualMachineInstance
from kubelet_bridge.model.meta import LABEL_POD_UID
from kubelet_bridge.model.resources import NAMESPACES, PODS, SERVICEACCOUNTS, VIRTUALMACHINEINSTANCES, VIRTUALMACHINES

NODE = "kubelet-bridge"
GOALS = {
    "bound → VM created, p99 ms": 250.0,
    "VMI Ready → Pod Ready, p99 ms": 250.0,
    "API writes per Pod": 10.0,
    "peak memory, MiB": 150.0,
}


class Observer:
    """Notes when each Pod uid passed each mark, in seconds of one clock."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.marks: dict[str, dict[str, float]] = {}
        self._clock = asyncio.get_running_loop().time
        self.pods = Informer(client, PODS, namespace=namespace, label_selector="bench=pod")
        self.vms = Informer(client, VIRTUALMACHINES, namespace=namespace)
        self.vmis = Informer(client, VIRTUALMACHINEINSTANCES, namespace=namespace)
        self.pods.subscribe(self._pod)
        self.vms.subscribe(self._vm)
        self.vmis.subscribe(self._vmi)

    def _mark(self, uid: str, name: str) -> None:
        self.marks.setdefault(uid, {}).setdefault(name, self._clock())

    def _pod(self, kind: EventKind, cached: Cached) -> None:
        uid = cached.head.uid
        if kind is EventKind.DELETED:
            return self._mark(uid, "gone")
        pod = msgspec.json.decode(cached.raw, type=Pod)
        if pod.spec.node_name:
            self._mark(uid, "bound")
        if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions):
            self._mark(uid, "ready")
        if pod.metadata.deletion_timestamp is not None:
            self._mark(uid, "deleting")
        return None

    def _vm(self, kind: EventKind, cached: Cached) -> None:
        uid = cached.head.labels.get(LABEL_POD_UID, "")
        self._mark(uid, "vm gone" if kind is EventKind.DELETED else "vm")

    def _vmi(self, kind: EventKind, cached: Cached) -> None:
        uid = cached.head.labels.get(LABEL_POD_UID, "")
        vmi = msgspec.json.decode(cached.raw, type=VirtualMachineInstance)
        ready = vmi.condition("Ready")
        if kind is not EventKind.DELETED and vmi.status.phase == "Running" and ready and ready.status == "True":
            self._mark(uid, "vmi ready")

    def count(self, name: str) -> int:
        return sum(name in marks for marks in self.marks.values())

    def spans(self, start: str, end: str) -> list[float]:
        """Milliseconds between two marks, of every Pod that passed both."""
        return [(m[end] - m[start]) * 1000 for m in self.marks.values() if start in m and end in m]


def mean_ms(done: Counter[str], name: str) -> float:
    return done[f"{name} sum"] / max(1, done[f"{name} count"]) / 1000


def percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values or [float("nan")])[0], (values or [float("nan")])[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


class BridgeProcess:
    """What the bridge's process has used and done so far: /proc and its own metrics."""

    def __init__(self, pid: int, metrics_url: str) -> None:
        self.pid = pid
        self._url = metrics_url

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> tuple[float, float]:
        """MiB now and at the peak."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = {name: int(value) / 1024 for name, value in re.findall(r"^(VmRSS|VmHWM):\s+(\d+)", text, re.MULTILINE)}
        return found["VmRSS"], found["VmHWM"]

    async def counters(self) -> Counter[str]:
        """What the bridge has counted so far; seconds are kept in microseconds."""
        async with aiohttp.ClientSession() as session, session.get(self._url) as response:
            text = await response.text()
        found: Counter[str] = Counter()
        for name in ("api_request_duration_seconds", "workqueue_latency_seconds", "event_loop_lag_seconds"):
            for part in ("sum", "count"):
                pattern = rf"^kubelet_bridge_{name}_{part}(?:{{[^}}]*}})? ([0-9.e+-]+)$"
                numbers = map(float, re.findall(pattern, text, re.MULTILINE))
                found[f"{name} {part}"] = int(sum(numbers) * (1e6 if part == "sum" else 1))
        for name, labels, value in re.findall(r"^(\w+)\{([^}]*)\} ([0-9.e+]+)$", text, re.MULTILINE):
            values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if name == "kubelet_bridge_api_requests_total":
                verb = values.get("verb", "")
                kind = "read" if verb in ("get", "list", "watch") else "write"
                found[kind] += int(float(value))
                if kind == "write":
                    found[f"{verb} {values.get('resource', '')}"] += int(float(value))
            elif name.startswith("kubelet_bridge_sqlite_") and name.endswith("_count"):
                found["sqlite"] += int(float(value))
        return found


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "pod"}},
        "spec": {
            "nodeName": NODE, "enableServiceLinks": False, "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "vm", "image": "bench.example/disk:1", "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    }  # fmt: skip


async def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.2)
    except TimeoutError:
        print(f"gave up after {seconds:.0f} s: {what}", file=sys.stderr)


async def one_round(client: Client, bridge: BridgeProcess, count: int, rate: float) -> dict[str, Any]:
    namespace = f"bench-{count}-{os.getpid()}"
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    observer = Observer(client, namespace)
    before, cpu = await bridge.counters(), bridge.cpu_seconds()
    loop = asyncio.get_running_loop()
    async with running(observer.pods, observer.vms, observer.vmis):
        await account(client, namespace)
        start = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            await client.create(PODS, namespace, pod(f"p{number}"))
        await until(lambda: observer.count("ready") >= count, "all Pods Ready", 60 + count)
        up = loop.time() - start
        rss = bridge.memory()[0]
        idle_cpu, idle_start = bridge.cpu_seconds(), loop.time()
        await asyncio.sleep(20)
        idle = (bridge.cpu_seconds() - idle_cpu) / (loop.time() - idle_start)
        start = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            await client.delete(PODS, namespace, f"p{number}")
        await until(lambda: observer.count("gone") >= count, "all Pods gone", 60 + count)
        down = loop.time() - start
    after = await bridge.counters()
    await client.delete(NAMESPACES, None, namespace)
    spans = {
        "bound → VM created": observer.spans("bound", "vm"),
        "VMI Ready → Pod Ready": observer.spans("vmi ready", "ready"),
        "deletion → gone": observer.spans("deleting", "gone"), "VM gone → Pod gone": observer.spans("vm gone", "gone"),
    }  # fmt: skip
    figures: dict[str, float] = {}
    for name, values in spans.items():
        figures[f"{name}, p50 ms"], figures[f"{name}, p99 ms"] = percentiles(values)
    done = after - before
    figures |= {
        "Pods Ready": observer.count("ready"), "Pods gone": observer.count("gone"),
        "all Ready after, s": up, "all gone after, s": down,
        "API writes per Pod": done["write"] / count, "API reads per Pod": done["read"] / count,
        "SQLite transactions per Pod": done["sqlite"] / count,
        "bridge CPU, ms per Pod life": (bridge.cpu_seconds() - cpu) / count * 1000,
        "API server's answer, mean ms": mean_ms(done, "api_request_duration_seconds"),
        "a key's wait for a worker, mean ms": mean_ms(done, "workqueue_latency_seconds"),
        "event loop lag, mean ms": mean_ms(done, "event_loop_lag_seconds"),
        "bridge CPU while all run, % of a core": idle * 100,
        "memory with all running, MiB": rss, "peak memory, MiB": bridge.memory()[1],
    }  # fmt: skip
    verbs = ("create", "apply", "patch", "replace", "delete")
    writes = {name: round(n / count, 2) for name, n in sorted(done.items()) if name.startswith(verbs)}
    return {"pods": count, "rate": rate, "figures": figures, "writes per Pod": writes}


@contextlib.asynccontextmanager
async def running(*informers: Informer) -> AsyncIterator[None]:
    tasks = [asyncio.get_running_loop().create_task(one.run()) for one in informers]
    try:
        await asyncio.gather(*(one.wait_synced() for one in informers))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def account(client: Client, namespace: str) -> None:
    from kubelet_bridge.errors import NotFound

    while True:
        try:
            await client.get(SERVICEACCOUNTS, namespace, "default")
            return
        except NotFound:
            await asyncio.sleep(0.1)


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| figure | " + " | ".join(f"{r['pods']} Pods at {r['rate']:g}/s" for r in results) + " | goal |"]
    lines.append("|---" * (len(results) + 2) + "|")
    for name in results[0]["figures"]:
        cells = " | ".join(f"{r['figures'][name]:,.1f}" for r in results)
        goal = f"≤ {GOALS[name]:g}" if name in GOALS else ""
        lines.append(f"| {name} | {cells} | {goal} |")
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", default="20@1,100@20,1000@20", help="PODS@RATE, PODS created at RATE a second; …")
    parser.add_argument("--directory", type=Path, help="a development cluster to use; else one is made and removed")
    arguments = parser.parse_args()
    made = None if arguments.directory else tempfile.mkdtemp(prefix="kubelet-bridge-bench-")
    cluster = DevCluster(arguments.directory or Path(made or "") / "cluster", Progress())
    try:
        state = await cluster.up(Options(bridge=True))
        row = next(row for row in await cluster.status() if row.name == NODE)
        bridge = BridgeProcess(row.pid or 0, f"http://127.0.0.1:{state.ports.bridge_admin}/metrics")
        async with cluster.client() as client:
            rounds = [one.split("@") for one in arguments.rounds.split(",")]
            results = []
            for pods, rate in rounds:
                results.append(await one_round(client, bridge, int(pods), float(rate)))
                print(f"{pods} Pods at {rate}/s: done", file=sys.stderr)
    finally:
        if made:
            await cluster.down()
            Path(made).rmdir()
    print(table(results))
    for result in results:
        print(f"\nwrites per Pod, {result['pods']} Pods: " + json.dumps(result["writes per Pod"], ensure_ascii=False))
    out = Path(__file__).parent / "results"
    out.mkdir(exist_ok=True)
    (out / "corridor.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
