"""Dev hosts inside a test: real Nodes of a test's own, and VirtualMachines that go nowhere else."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.devhost.faultapi import FaultClient, socket_path
from kubelet_bridge.devcluster.devhost.host import DevHost, HostConfig
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import (
    NAMESPACES,
    NODES,
    PODS,
    SERVICEACCOUNTS,
    VIRTUALMACHINEINSTANCES,
    VIRTUALMACHINES,
    VMI_SUBRESOURCES,
    Resource,
)
from tests.support.bridge import Json, condition, decoded, eventually

NODE = "dev-host-6"
OTHER = "dev-host-7"
LABEL = "devhost-tests"


class Site:
    """A namespace, and Nodes whose virt-handler and kubelet a test starts and stops itself."""

    def __init__(self, cluster: DevCluster, client: Client, namespace: str) -> None:
        self.cluster = cluster
        self.client = client
        self.namespace = namespace

    def host(self, **config: Any) -> AbstractAsyncContextManager[None]:
        """A host that runs while the context lasts."""
        return _host(self.cluster, self.client, HostConfig(**{"node": NODE, **config}))

    async def faults(self, act: Callable[[FaultClient], Awaitable[Any]], node: str = NODE) -> Any:
        async with FaultClient(socket_path(self.cluster.layout.run, node)) as client:
            return await act(client)

    async def vm(self, image: str = "example.com/os:1", *, run: str = "Always", grace: int = 30, **spec: Any) -> str:
        """Create a VirtualMachine that only our hosts can run; its name."""
        name = f"vm-{uuid.uuid4().hex[:6]}"
        template = {
            "architecture": "amd64", "terminationGracePeriodSeconds": grace, "nodeSelector": {LABEL: "true"},
            "domain": {
                "cpu": {"sockets": 1, "cores": 1, "threads": 1, "maxSockets": 4},
                "memory": {"guest": "1Gi", "maxGuest": "4Gi"},
                "devices": {
                    "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                    "interfaces": [{"name": "default", "masquerade": {}}],
                },
            },
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [{"name": "root", "containerDisk": {"image": image}}], **spec,
        }  # fmt: skip
        body = {
            "apiVersion": VIRTUALMACHINES.api_version, "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": run, "template": {"spec": template}},
        }  # fmt: skip
        await self.client.create(VIRTUALMACHINES, self.namespace, body)
        return name

    async def get(self, resource: Resource, name: str) -> Json | None:
        try:
            found: Json = decoded(await self.client.get(resource, self.namespace, name))
        except NotFound:
            return None
        return found

    async def launchers(self, name: str) -> list[Json]:
        selector = f"vm.kubevirt.io/name={name}"
        found: list[Json] = decoded(await self.client.list(PODS, self.namespace, label_selector=selector))["items"]
        return found

    async def vmi(self, name: str, wanted: Callable[[Json], Any], what: str) -> Json:
        """The VirtualMachineInstance once it is as ``wanted``."""

        last: Json | None = None

        async def check() -> Json | None:
            nonlocal last
            last = await self.get(VIRTUALMACHINEINSTANCES, name)
            return last if last is not None and wanted(last) else None

        try:
            found: Json = await eventually(check, f"{name} {what}", every=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; {(last or {}).get('status')}") from None
        return found

    async def phase(self, name: str, phase: str) -> Json:
        return await self.vmi(name, lambda vmi: vmi["status"].get("phase") == phase, phase)

    async def ready(self, name: str) -> Json:
        return await self.vmi(name, lambda vmi: condition(vmi, "Ready") == "True", "ready")

    async def printable(self, name: str, status: str) -> None:
        async def check() -> bool:
            vm = await self.get(VIRTUALMACHINES, name)
            return vm is not None and vm.get("status", {}).get("printableStatus") == status

        await eventually(check, f"{name} {status}", every=0.05)

    async def act(self, name: str, action: str, body: bytes = b"{}") -> None:
        """PUT a subresource of a VirtualMachineInstance."""
        path = VMI_SUBRESOURCES.path(self.namespace, name, action)
        await self.client.request("PUT", path, body=body, headers={"Accept": "*/*"})  # virt-api produces no JSON here

    @asynccontextmanager
    async def stream(self, name: str, kind: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket to a guest's console or screen, by way of the API server and virt-api."""
        admin = await credentials.load(self.cluster.layout.kubeconfig("admin"))
        url = admin.base_url + VMI_SUBRESOURCES.path(self.namespace, name, kind)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(url, protocols=("plain.kubevirt.io",), ssl=admin.tls or True, max_msg_size=0) as socket,
        ):
            yield socket

    async def clear(self) -> None:
        """Delete what is there, by force if it has to be, and wait for it."""
        for vm in decoded(await self.client.list(VIRTUALMACHINES, self.namespace))["items"]:
            with contextlib.suppress(NotFound):
                await self.client.delete(VIRTUALMACHINES, self.namespace, vm["metadata"]["name"])

        async def gone() -> bool:
            left = decoded(await self.client.list(VIRTUALMACHINEINSTANCES, self.namespace))["items"]
            return not left and not await self.launchers("")

        await eventually(gone, "everything gone")


@asynccontextmanager
async def _host(cluster: DevCluster, client: Client, config: HostConfig) -> AsyncIterator[None]:
    stop = asyncio.Event()
    failed: AssertionError | None = None
    async with cluster.client() as own, asyncio.TaskGroup() as group:
        host = DevHost(config, cluster.state, cluster.layout, own)
        group.create_task(host.run(stop), name=config.node)
        try:
            await eventually(lambda: _labelled(client, config.node), f"node {config.node}", every=0.05)
            yield
        except AssertionError as error:  # the test's own: in a group with no other, it is said as it is
            failed = error
        finally:
            stop.set()
    if failed is not None:
        raise failed


async def _labelled(client: Client, node: str) -> bool:
    """Whether the Node takes Pods; then it gets the label that our VirtualMachines select."""
    try:
        found = decoded(await client.get(NODES, None, node))
    except NotFound:
        return False
    if condition(found, "Ready") != "True" or any(taint["effect"] for taint in found["spec"].get("taints", [])):
        return False
    await client.patch(NODES, None, node, {"metadata": {"labels": {LABEL: "true"}}}, kind=PatchType.MERGE)
    return True


@pytest.fixture
async def site(dev_cluster: DevCluster, admin: Client) -> AsyncIterator[Site]:
    """An empty namespace; the Nodes and all that ran on them are gone afterwards."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await admin.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    one = Site(dev_cluster, admin, name)

    async def account() -> bool:
        return await one.get(SERVICEACCOUNTS, "default") is not None

    await eventually(account, "the default ServiceAccount", every=0.05)
    try:
        yield one
    finally:
        await admin.delete(NAMESPACES, None, name)
        for node in (NODE, OTHER):
            for resource, namespace, left in ((PODS, "kubevirt", f"virt-handler-{node}"), (NODES, None, node)):
                with contextlib.suppress(NotFound):
                    await admin.delete(resource, namespace, left, grace_seconds=0)
