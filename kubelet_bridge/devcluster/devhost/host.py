"""One host put together: every part of it, wired, and run until it is told to stop."""

import asyncio
import ssl
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from kubelet_bridge.aio.parts import Part, run_parts
from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.devcluster.devhost import faultapi
from kubelet_bridge.devcluster.devhost.addresses import AddressPool, HostAddresses, first_address, host_index, share
from kubelet_bridge.devcluster.devhost.cdi.lookups import Lookups
from kubelet_bridge.devcluster.devhost.cdi.worker import Worker
from kubelet_bridge.devcluster.devhost.domains import Domains, Key
from kubelet_bridge.devcluster.devhost.endpoints import Endpoints, server_tls
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.handler import Handler
from kubelet_bridge.devcluster.devhost.kubelet import Kubelet
from kubelet_bridge.devcluster.devhost.metrics import metrics_tls, serve_metrics
from kubelet_bridge.devcluster.devhost.mover import Mover, Parts
from kubelet_bridge.devcluster.devhost.node import NodeAgent, node_headers
from kubelet_bridge.devcluster.devhost.nodeobject import Capacity, NodeFacts
from kubelet_bridge.devcluster.devhost.process.runtime import ProcessRuntime
from kubelet_bridge.devcluster.devhost.qemu import localimages
from kubelet_bridge.devcluster.devhost.qemu.runtime import QemuRuntime
from kubelet_bridge.devcluster.devhost.runtime import Guest, GuestRuntime, Host
from kubelet_bridge.devcluster.devhost.scripted import ScriptedRuntime, Timings
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage, ClaimedImages
from kubelet_bridge.devcluster.devhost.storage.provisioner import Provisioner
from kubelet_bridge.devcluster.devhost.storage.volumefiles import VolumeFiles
from kubelet_bridge.devcluster.devhost.vmiclient import VmiClient
from kubelet_bridge.devcluster.devhost.vmistatus import images
from kubelet_bridge.devcluster.hosts import host_address
from kubelet_bridge.devcluster.identities import KUBEVIRT_CA
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import ConfigMap, Secret
from kubelet_bridge.model.resources import CONFIGMAPS, SECRETS

_NAMESPACE = uuid.UUID("0d6f8a4e-59a1-5c39-9a0e-8f1a3c1f9b52")


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a host behaves.

    Attributes:
        pull_seconds: from a Pod's being bound until its containers start.
        agent: whether guests have a guest agent.
    """

    node: str
    mode: str = "none"
    timings: Timings = Timings()
    pull_seconds: float = 0.0
    agent: bool = True
    capacity: Capacity = Capacity()


class Mode(NamedTuple):
    """A way of running guests.

    Attributes:
        runtime: makes the runtime of one host.
        has_image: whether a container disk is there without being pulled; may block.
    """

    runtime: Callable[[HostConfig, Layout, Host], GuestRuntime]
    has_image: Callable[[str], bool] = lambda _reference: True


RUNTIMES: Mapping[str, Mode] = {
    "none": Mode(lambda config, _layout, host: ScriptedRuntime(config.timings, host)),
    "process": Mode(lambda config, layout, host: ProcessRuntime(config.node, layout, host)),
    "qemu": Mode(
        lambda config, layout, host: QemuRuntime(config.node, layout, host),
        has_image=lambda reference: localimages.find(reference) is not None,
    ),
}
"""The modes, by name."""


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class DevHost:
    """The host. It is also what its runtime may ask (``runtime.Host``)."""

    def __init__(self, config: HostConfig, state: ClusterState, layout: Layout, client: Client) -> None:
        self._config = config
        self._state = state
        self._layout = layout
        self._client = client
        self._addresses = _addresses(config, state)
        self._queue: WorkQueue[Key] = WorkQueue()
        self._faults = FaultBook(
            layout.run / f"{config.node}.faults.json",
            lambda rule: faultapi.clear_elsewhere(layout.run, config.node, rule),
        )
        mode = RUNTIMES[config.mode]
        self._runtime = mode.runtime(config, layout, self)
        self._domains = Domains(now, self._hangs)
        self._node = NodeAgent(
            client, _facts(config, state, self._addresses), f"quay.io/kubevirt/virt-handler:v{state.kubevirt_version}",
            lambda: self._faults.unschedulable, now,
        )  # fmt: skip
        files = VolumeFiles(layout.volumes)
        self._storage = Provisioner(client, config.node, files, self._faults, now)
        self._images = ClaimedImages(client, files)
        self._worker = Worker(self._images, Lookups(client, config.node), self._faults, self._metrics_tls, now)
        pool = AddressPool(share(state.pod_cidr, host_index(config.node)))
        self._kubelet = Kubelet(
            client, config.node, self._addresses, pool, self._domains, self._faults, pull_seconds=config.pull_seconds,
            clock=now, has_image=mode.has_image, worker=self._worker,
        )  # fmt: skip
        vmis = VmiClient(client, config.node, now)
        parts = Parts(config.node, vmis, self._domains, self._kubelet.launchers, self._runtime, self._queue, now)
        self._mover = Mover(parts, self._addresses.handler)
        self._handler = Handler(parts, self._mover, self._faults, agent=config.agent)

    def changed(self, guest: Guest) -> None:
        """A guest is in another state: both halves look at it."""
        self._queue.add((guest.spec.namespace, guest.spec.name))
        self._kubelet.guest_changed(guest.spec.uid)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """A Secret's data, as a kubelet gets it: only when a Pod of its own names it."""
        raw = await self._client.get(SECRETS, namespace, name, headers=node_headers(self._config.node))
        return msgspec.json.decode(raw, type=Secret).data

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """A ConfigMap's data, in the same way."""
        raw = await self._client.get(CONFIGMAPS, namespace, name, headers=node_headers(self._config.node))
        found = msgspec.json.decode(raw, type=ConfigMap)
        return {key: text.encode() for key, text in found.data.items()} | found.binary_data

    async def claimed_image(self, namespace: str, claim: str) -> ClaimedImage | None:
        """The file behind a claim, in the same way."""
        return await self._images.find(namespace, claim)

    async def run(self, stop: asyncio.Event) -> None:
        """Register the Node and serve it until ``stop``. Guests and launchers then stay: a restart finds them."""
        await self._faults.load()
        tls, metrics = await asyncio.to_thread(self._tls), await asyncio.to_thread(self._metrics_tls)
        await self._node.join()
        await run_parts(self._parts(tls, metrics), stop)

    def _parts(self, tls: ssl.SSLContext, metrics: ssl.SSLContext) -> list[Part]:
        endpoints, port = Endpoints(self._domains), self._state.ports.virt_handler
        socket = faultapi.socket_path(self._layout.run, self._config.node)
        return [
            Part(name="runtime", run=self._runtime.run),
            Part(name="mover", run=self._mover.run),
            Part(name="kubelet", run=self._kubelet.run),
            Part(name="node", run=self._node.run),
            Part(name="storage", run=self._storage.run),
            Part(name="cdi", run=self._worker.run),
            Part(name="virt-handler", run=self._handler.run),
            Part(name="endpoints", run=lambda: endpoints.run(self._addresses.handler, port, tls)),
            Part(name="metrics", run=lambda: self._serve_metrics(metrics)),
            Part(name="faults", run=lambda: faultapi.serve(socket, self._faults, self._node.follow_faults)),
        ]

    async def _serve_metrics(self, tls: ssl.SSLContext) -> None:
        port = self._state.ports.virt_handler_metrics
        await serve_metrics(self._domains, self._config.node, self._addresses.handler, port, tls)

    def _hangs(self, guest: Guest) -> bool:
        vmi = msgspec.json.decode(guest.spec.vmi)
        return self._faults.effects(guest.spec.namespace, guest.spec.name, images(vmi)).hang

    def _metrics_tls(self) -> ssl.SSLContext:
        name = "virt-handler-server"
        return metrics_tls(self._layout.certificate(name), self._layout.key(name))

    def _tls(self) -> ssl.SSLContext:
        layout, name = self._layout, "virt-handler-server"
        return server_tls(layout.certificate(name), layout.key(name), layout.certificate(KUBEVIRT_CA))


def _addresses(config: HostConfig, state: ClusterState) -> HostAddresses:
    """On loopback every host's virt-handler has an address of its own, the Nodes do not: virt-api dials the former."""
    index = host_index(config.node)
    node = host_address(state, index)
    return HostAddresses(node, node if state.interface else first_address(share(state.pod_cidr, index)))


def _facts(config: HostConfig, state: ClusterState, addresses: HostAddresses) -> NodeFacts:
    return NodeFacts(
        name=config.node,
        address=addresses.node,
        kubelet_port=state.ports.kubelet,
        metrics_port=state.ports.virt_handler_metrics,
        kubelet_version=f"v{state.kubernetes_version}",
        system_uuid=str(uuid.uuid5(_NAMESPACE, f"{state.id}/{config.node}")),
        capacity=config.capacity,
    )
