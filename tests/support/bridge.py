"""A bridge daemon of a test's own: a real process, on a node of its own name, that can be killed and started again."""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.meta import LABEL_POD_UID
from kubelet_bridge.model.resources import (
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICEACCOUNTS,
    VIRTUALMACHINEINSTANCES,
    VIRTUALMACHINES,
    Resource,
)

Json = dict[str, Any]


async def eventually(
    check: Callable[[], Awaitable[Any]], what: str | Callable[[], str], *, seconds: float = 60.0, every: float = 0.15
) -> Any:
    """Await ``check`` until it gives something true, and return that; ``what`` is asked for when it does not."""
    loop = asyncio.get_running_loop()
    deadline, last = loop.time() + seconds, None
    while loop.time() < deadline:
        if last := await check():
            return last
        await asyncio.sleep(every)
    said = what if isinstance(what, str) else what()
    raise AssertionError(f"not within {seconds:.0f} s: {said}; last seen {last!r}")


class Bridge:
    """One daemon process, its node and its state directory."""

    def __init__(self, cluster: DevCluster, client: Client, directory: Path, *, kubeconfig: Path | None = None) -> None:
        self.cluster = cluster
        self.client = client
        self.node = f"vnode-{uuid.uuid4().hex[:8]}"
        self.directory = directory
        self.state_dir = directory / "state"
        self.log = directory / "bridge.log"
        self.kubeconfig = kubeconfig or cluster.layout.kubeconfig("bridge")
        self.port, self.admin_port = free_port(), free_port()
        self.guest_port, self.guest_files_port = free_port(), free_port()
        self.arguments: list[str] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, failpoints: str = "", ready: bool = True) -> None:
        address = self.cluster.state.node_address
        environment = {**os.environ, "KUBELET_BRIDGE_FAILPOINTS": failpoints}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kubelet_bridge", "run", "--kubeconfig", str(self.kubeconfig),
                "--node-name", self.node, "--state-dir", str(self.state_dir), "--listen", f"{address}:{self.port}",
                "--admin-listen", f"127.0.0.1:{self.admin_port}", "--log-format", "console", "--log-level", "debug",
                "--guest-listen", f"{address}:{self.guest_port}",
                "--guest-files-listen", f"{address}:{self.guest_files_port}",
                "--capacity-cpu", "1000", "--capacity-memory", "4Ti", "--capacity-pods", "1000", *self.arguments,
                env=environment, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        if ready:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        async def check() -> bool:
            if self._process is not None and self._process.returncode is not None:
                raise AssertionError(f"the bridge ended: {self.tail()}")
            try:
                async with aiohttp.ClientSession() as http, http.get(self.admin("/readyz")) as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(check, "the bridge ready")

    def admin(self, path: str) -> str:
        return f"http://127.0.0.1:{self.admin_port}{path}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def died(self, *, seconds: float = 40.0) -> int:
        """Wait until the process has ended, and return how."""
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(20):
            return await self._process.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class World:
    """A namespace of a test's own, and short words for what tests ask of it."""

    def __init__(self, client: Client, namespace: str, bridge: Bridge) -> None:
        self.client, self.namespace, self.bridge = client, namespace, bridge

    def pod(self, name: str, **spec: Any) -> Json:
        container = {
            "name": "vm",
            "image": "example.test/disk:1",
            "resources": {"limits": {"cpu": "1", "memory": "128Mi"}},
        }
        container |= spec.pop("container", {})
        return {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": spec.pop("labels", {"app": name})},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": self.bridge.node}, "tolerations": [{"operator": "Exists"}],
                "terminationGracePeriodSeconds": 5, "containers": [container], **spec,
            },
        }  # fmt: skip

    async def create(self, resource: Resource, body: Json) -> Json:
        return decoded(await self.client.create(resource, self.namespace, body))

    async def get(self, resource: Resource, name: str) -> Json | None:
        try:
            return decoded(await self.client.get(resource, self.namespace, name))
        except NotFound:
            return None

    async def find(self, resource: Resource, *, label_selector: str = "") -> list[Json]:
        found: list[Json] = decoded(
            await self.client.list(resource, self.namespace, label_selector=label_selector)
        )["items"]  # fmt: skip
        return found

    async def vms(self) -> list[Json]:
        return await self.find(VIRTUALMACHINES)

    async def pods(self, *, label_selector: str = "") -> list[Json]:
        """Our Pods: launchers are left out."""
        return [
            one for one in await self.find(PODS, label_selector=label_selector)
            if one["spec"].get("nodeName") != "dev-host-0" and "kubevirt.io" not in one["metadata"].get("labels", {})
        ]  # fmt: skip

    async def ready(self, name: str, *, seconds: float = 60.0) -> Json:
        async def check() -> Json | None:
            pod = await self.get(PODS, name)
            return pod if pod is not None and condition(pod, "Ready") == "True" else None

        try:
            found: Json = await eventually(check, f"Pod {name} Ready", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.bridge.tail()}\n{await self._about(name)}") from None
        return found

    async def _about(self, name: str) -> str:
        """What the cluster says of a Pod and of all that was made for it: status and events."""
        seen = []
        for resource in (PODS, VIRTUALMACHINES, VIRTUALMACHINEINSTANCES):
            found = [one for one in await self.find(resource) if name in one["metadata"]["name"]]
            seen += [(resource.kind, one["metadata"]["name"], one.get("status")) for one in found]
        for event in await self.find(EVENTS):
            if name in event["involvedObject"].get("name", ""):
                about = event["involvedObject"]
                seen.append((about["kind"], about["name"], (event.get("lastTimestamp"), event.get("message"))))
        return "\n".join(f"{kind} {of}: {said}" for kind, of, said in seen)

    async def phase(self, name: str, phase: str, *, seconds: float = 60.0) -> Json:
        async def check() -> Json | None:
            pod = await self.get(PODS, name)
            return pod if pod is not None and pod["status"].get("phase") == phase else None

        found: Json = await eventually(check, lambda: f"Pod {name} {phase}; {self.bridge.tail()}", seconds=seconds)
        return found

    async def gone(self, resource: Resource, name: str, *, seconds: float = 60.0) -> None:
        async def check() -> bool:
            return await self.get(resource, name) is None

        await eventually(check, lambda: f"{resource.kind} {name} gone; {self.bridge.tail()}", seconds=seconds)

    async def settled(self) -> None:
        """The invariant: every VM has its Pod, every Pod that should has one VM, and no uid has two."""
        pods = {one["metadata"]["uid"] for one in await self.pods()}
        owners = [one["metadata"]["labels"].get(LABEL_POD_UID) for one in await self.vms()]
        assert len(owners) == len(set(owners)), f"two VMs for one Pod: {owners}"
        assert set(owners) == pods, f"VMs of {owners}, Pods {pods}"


def decoded(raw: bytes) -> Any:
    return msgspec.json.decode(raw)


def condition(pod: Json, kind: str) -> str | None:
    return next((one["status"] for one in pod["status"].get("conditions", []) if one["type"] == kind), None)


@pytest.fixture
async def admin(dev_cluster: DevCluster) -> AsyncIterator[Client]:
    async with dev_cluster.client() as client:
        yield client


@pytest.fixture
async def bridge(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Bridge]:
    """A bridge that was not started yet; its process and node are gone afterwards."""
    one = Bridge(dev_cluster, admin, tmp_path)
    try:
        yield one
    finally:
        await one.kill()
        with contextlib.suppress(NotFound):
            await admin.delete(NODES, None, one.node)


@pytest.fixture
async def world(admin: Client, bridge: Bridge) -> AsyncIterator[World]:
    """A namespace; whatever a test left in it goes before the bridge does."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await admin.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    one = World(admin, name, bridge)

    async def account() -> bool:
        return await one.get(SERVICEACCOUNTS, "default") is not None

    await eventually(account, "the default ServiceAccount")
    try:
        yield one
    finally:
        with contextlib.suppress(NotFound):  # a test may have waited for its end
            await admin.delete(NAMESPACES, None, name)
