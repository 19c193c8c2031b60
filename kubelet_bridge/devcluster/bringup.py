"""Starting a prepared cluster in the order that works, and waiting for each part to be well."""

import asyncio
from collections.abc import Sequence

from kubelet_bridge.devcluster import (
    bridge,
    cdi,
    component,
    hosts,
    kubevirt,
    manifests,
    processes,
    registry,
    storageclasses,
)
from kubelet_bridge.devcluster.component import Component
from kubelet_bridge.devcluster.controlplane import control_plane
from kubelet_bridge.devcluster.identities import ADMINS, BRIDGE_NAMESPACE
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.devcluster.waiting import until
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import SERVICEACCOUNTS


class BringUp:
    """One `dev up`. Every step may find its work done already."""

    def __init__(self, layout: Layout, state: ClusterState, progress: Progress) -> None:
        self._layout, self._state, self._progress = layout, state, progress

    async def run(self) -> None:
        """Start what does not run, install what is not there."""
        etcd, apiserver, *controllers = control_plane(self._layout, self._state)
        await self._start([etcd])
        await self._start([apiserver])
        async with Client(await credentials.load(self._layout.kubeconfig("super-admin"))) as client:
            await manifests.apply(client, [_bind_admins()])
            for part in controllers:  # they take their time to start; their turn to be waited for comes later
                await component.ensure(self._layout, part, self._state)
            cdi_objects = await self._cdi_objects(client)  # KubeVirt's programs exit when CDI's kinds appear later
            await self._kubevirt(client)
            await self._cdi(client, cdi_objects)
            await self._start(controllers)
            await until(lambda: _has_default_account(client), "the default ServiceAccount")
            await self._registry()
            await self._hosts(client)
        if self._state.bridge:
            await self._start([bridge.component(self._layout, self._state)])

    async def _cdi_objects(self, client: Client) -> list[manifests.Manifest]:
        items = await asyncio.to_thread(cdi.read_manifests, self._layout)
        with self._progress.step("installing CDI's objects", "CDI's objects installed"):
            await cdi.install(client, self._layout, self._state, items)
            await manifests.apply(client, [*storageclasses.classes(), *storageclasses.profiles()])
        return items

    async def _cdi(self, client: Client, items: list[manifests.Manifest]) -> None:
        await self._start(cdi.controllers(self._layout, self._state))
        with self._progress.step("waiting for CDI's API", "CDI's webhooks answer"):
            await cdi.publish(client, self._layout, self._state, items)
            await cdi.wait_serving(client)

    async def _kubevirt(self, client: Client) -> None:
        items = await asyncio.to_thread(kubevirt.read_manifests, self._layout)
        with self._progress.step("installing KubeVirt's objects", "KubeVirt's objects installed"):
            await kubevirt.install(client, self._layout, self._state, items)
            await manifests.apply(client, [manifests.namespace(BRIDGE_NAMESPACE)])
            await manifests.apply(client, [*bridge.rbac(), *bridge.classes()])
        virt_api, virt_controller = kubevirt.controllers(self._layout, self._state)
        if await asyncio.to_thread(processes.recorded, self._layout, virt_controller.name) is None:
            await kubevirt.release_lease(client)
        await self._start([virt_api, virt_controller])
        with self._progress.step("waiting for KubeVirt's API", "KubeVirt's webhooks and subresources answer"):
            await kubevirt.publish(client, self._layout, self._state, items)
            await kubevirt.wait_serving(client)

    async def _registry(self) -> None:
        if parts := registry.components(self._layout, self._state):
            await self._start(parts)
            await registry.publish(self._state)

    async def _hosts(self, client: Client) -> None:
        dev_hosts = hosts.dev_hosts(self._layout, self._state)
        for host in dev_hosts:
            await component.ensure(self._layout, host, self._state)
        for host in dev_hosts:
            with self._progress.step(f"waiting for node {host.name}", f"node {host.name} Ready"):
                await hosts.wait_ready(self._layout, client, host)
        await hosts.forget_others(client, self._state)

    async def _start(self, parts: Sequence[Component]) -> None:
        names = ", ".join(part.name for part in parts)
        with self._progress.step(f"starting {names}", f"{names} ready"):
            for part in parts:
                await component.ensure(self._layout, part, self._state)
            for part in parts:
                await component.wait_healthy(self._layout, part)


def _bind_admins() -> manifests.Manifest:
    """What `kubeadm init` binds; until then only ``system:masters`` may do anything."""
    group = {"kind": "Group", "name": ADMINS, "apiGroup": "rbac.authorization.k8s.io"}
    return manifests.cluster_role_binding(ADMINS, "cluster-admin", group)


async def _has_default_account(client: Client) -> bool:
    """No Pod can be created in a namespace before the controller manager has made its ServiceAccount."""
    await client.get(SERVICEACCOUNTS, "default", "default")
    return True
