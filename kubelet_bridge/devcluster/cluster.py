"""A development cluster as a whole: up, down, what state it is in, and how to reach it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster import (
    bridge,
    cdi,
    component,
    etcd,
    hostmodes,
    hosts,
    kubevirt,
    network,
    processes,
    registry,
)
from kubelet_bridge.devcluster.bringup import BringUp
from kubelet_bridge.devcluster.component import Component
from kubelet_bridge.devcluster.controlplane import control_plane
from kubelet_bridge.devcluster.layout import ClusterState, Layout, default_directory, load_state
from kubelet_bridge.devcluster.lock import exclusive, is_ours
from kubelet_bridge.devcluster.preparation import Options, end_strays, prepare, settle, strays
from kubelet_bridge.devcluster.processes import Process
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client


class ComponentStatus(msgspec.Struct, frozen=True):
    """One row of `dev status`; ``state`` is ``running``, ``not ready`` or ``stopped``."""

    name: str
    pid: int | None
    state: str
    address: str


class DevCluster:
    """The cluster in one directory, made yet or not. Raises ``Terminal`` for what a person has to change."""

    def __init__(self, directory: Path | None = None, progress: Progress | None = None) -> None:
        self.layout = Layout((directory or default_directory()).absolute())
        self._progress = progress or Progress(quiet=True)
        self._state: ClusterState | None = None

    @property
    def state(self) -> ClusterState:
        """What is recorded of the cluster: read once, from a small file."""
        self._state = self._state or load_state(self.layout)
        if self._state is None:
            raise Terminal(f"no development cluster in {self.layout.directory}; `kubelet-bridge dev up` makes one")
        return self._state

    @asynccontextmanager
    async def client(self, user: str = "admin") -> AsyncIterator[Client]:
        """The API server, as one of the cluster's users."""
        async with Client(await credentials.load(self.layout.kubeconfig(user))) as client:
            yield client

    async def up(self, options: Options | None = None) -> ClusterState:
        """Make the cluster, or repair it; a cluster that runs is left alone."""
        async with self._exclusively():
            state = await asyncio.to_thread(settle, self.layout, options or Options(), self._progress)
            self._state = state
            names = [part.name for part in self.components(state)]
            if await self._is_up(state) and not await asyncio.to_thread(self._strays, state, names):
                self._progress.say(f"the cluster in {self.layout.directory} is up already")
                return state
            await asyncio.to_thread(prepare, self.layout, state, names, self._progress)
            await BringUp(self.layout, state, self._progress).run()
            self._progress.say(f"the cluster in {self.layout.directory} is up")
            return state

    def _strays(self, state: ClusterState, names: list[str]) -> list[Process]:
        guests = hostmodes.guests(hostmodes.parse(state.host_mode), self.layout)
        return strays(self.layout, keep=names, guests=guests)

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, exclusive(self.layout))
            yield

    async def _is_up(self, state: ClusterState) -> bool:
        if not await asyncio.to_thread(network.is_prepared, state.pod_cidr):
            return False
        return all(row.state == "running" for row in await self.status())

    async def down(self) -> None:
        """End every process of the cluster, take its addresses back, and delete its directory."""
        if not await asyncio.to_thread(is_ours, self.layout):
            await asyncio.to_thread(end_strays, self.layout, keep=[])  # somebody may have deleted the directory
            self._progress.say(f"no development cluster in {self.layout.directory}")
            return
        async with self._exclusively():
            try:
                state = await asyncio.to_thread(load_state, self.layout)
            except Terminal as error:
                self._progress.say(f"{error.message}; ending only what can be found")
                state = None
            if state is not None:
                await self._end(state)
            await asyncio.to_thread(end_strays, self.layout, keep=[])
            await asyncio.to_thread(shutil.rmtree, self.layout.directory)
            self._state = None
            self._progress.say(f"removed {self.layout.directory}")

    async def _end(self, state: ClusterState) -> None:
        """What uses the API server first, then the API server, then etcd."""
        etcd, apiserver, *others = self.components(state)
        await asyncio.gather(*(component.stop(self.layout, part) for part in others))
        await component.stop(self.layout, apiserver)
        await component.stop(self.layout, etcd)
        await asyncio.to_thread(network.remove, state.pod_cidr)

    async def status(self) -> list[ComponentStatus]:
        """Every component, asked whether it is well."""
        state = await asyncio.to_thread(lambda: self.state)
        return list(await asyncio.gather(*(self._status_of(part) for part in self.components(state))))

    async def _status_of(self, part: Component) -> ComponentStatus:
        process = await asyncio.to_thread(processes.recorded, self.layout, part.name)
        if process is None:
            return ComponentStatus(part.name, None, "stopped", part.address)
        well = await component.healthy(part)
        return ComponentStatus(part.name, process.pid, "running" if well else "not ready", part.address)

    def guests(self) -> str:
        """How VirtualMachineInstances run, in one line."""
        return hostmodes.describe(hostmodes.parse(self.state.host_mode), self.layout)

    def env(self) -> dict[str, str]:
        """Variables that point kubectl, and the rest of a shell session, at the cluster."""
        directory = str(self.layout.bin)
        path = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry != directory]
        return {"KUBECONFIG": str(self.layout.kubeconfig("admin")), "PATH": os.pathsep.join([directory, *path])}

    def components(self, state: ClusterState) -> list[Component]:
        """In the order they start."""
        parts = [
            *control_plane(self.layout, state), *kubevirt.controllers(self.layout, state),
            *cdi.controllers(self.layout, state),
            *registry.components(self.layout, state), *hosts.dev_hosts(self.layout, state),
        ]  # fmt: skip
        return [*parts, bridge.component(self.layout, state)] if state.bridge else parts

    async def start(self, name: str) -> None:
        """Start one component that was stopped, and wait until it is well."""
        state, part = await asyncio.to_thread(self._component, name)
        await component.ensure(self.layout, part, state)
        await component.wait_healthy(self.layout, part)

    async def stop(self, name: str) -> None:
        """Stop one component; ``start`` or ``up`` brings it back."""
        _, part = await asyncio.to_thread(self._component, name)
        await component.stop(self.layout, part)

    async def compact(self) -> None:
        """Make etcd forget all history, so that a watch from an older resourceVersion is answered 410.

        The API server is started anew: its watch cache would go on answering from what it remembers itself.
        """
        await etcd.compact(self.layout, self.state)
        await self.stop("kube-apiserver")
        await self.start("kube-apiserver")

    def _component(self, name: str) -> tuple[ClusterState, Component]:
        state = self.state
        parts = {part.name: part for part in self.components(state)}
        if name not in parts:
            raise Terminal(f"the cluster has no {name}; it has {', '.join(parts)}")
        return state, parts[name]
