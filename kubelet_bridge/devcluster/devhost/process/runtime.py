"""Runs ``ProcessGuest``s: makes their disks, looks after their ends, finds them again after a restart of the host."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.binaries import cache_root
from kubelet_bridge.devcluster.devhost.process.guest import ProcessGuest
from kubelet_bridge.devcluster.devhost.process.places import Places
from kubelet_bridge.devcluster.devhost.qemu import cloudinit, vmispec
from kubelet_bridge.devcluster.devhost.runtime import Exit, Guest, GuestSpec, GuestState, Host
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.devcluster.processes import stop
from kubelet_bridge.errors import Terminal
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.bundle import Bundle


class ProcessRuntime:
    """The guests of one host, called ``node``. ``agent`` finds the agent's file, by default that of this program."""

    def __init__(self, node: str, layout: Layout, host: Host, agent: Callable[[], Bundle] | None = None) -> None:
        self._agent = agent or (lambda: bundle.ensure(cache_root()))
        self._node = node
        self._layout = layout
        self._host = host
        self._ended: asyncio.Queue[ProcessGuest] = asyncio.Queue()

    async def run(self) -> None:
        """Say of each guest that has ended what that means; the guests run without us."""
        while True:
            guest = await self._ended.get()
            await guest.settle(self._ended.put_nowait)

    async def start(self, spec: GuestSpec) -> Guest:
        """Make its disk and switch it on."""
        _check_disks(spec)
        agent = await asyncio.to_thread(self._agent)
        places = self._places(spec.uid)
        await asyncio.to_thread(places.prepare, await self._seed(spec), agent.path)
        guest = ProcessGuest(spec, places, agent.version, self._host)
        await guest.power_on(self._ended.put_nowait)
        return guest

    async def adopt(self, spec: GuestSpec, last: GuestState) -> Guest | None:
        """Its first process is found by pid and start time; one that shut down meanwhile has left a word of it."""
        places = self._places(spec.uid)
        process = await asyncio.to_thread(places.remembered)
        outcome = "" if process else await asyncio.to_thread(places.ended_as)
        if process is None and not outcome:
            return None
        agent = await asyncio.to_thread(self._agent)
        guest = ProcessGuest(spec, places, agent.version, self._host)
        if process is not None:
            await guest.found(process, msgspec.structs.replace(last, booted=True, exit=None), self._ended.put_nowait)
        elif outcome == "reboot":
            await guest.power_on(self._ended.put_nowait)
        else:
            guest.was(msgspec.structs.replace(last, exit=Exit.SHUTDOWN))
        return guest

    async def receive(self, _spec: GuestSpec, _address: str, _secret: str) -> Guest:
        """Raises ``Terminal``: processes cannot be sent."""
        raise Terminal("guests of mode process cannot be migrated", reason="NotMigratable")

    async def retain(self, uids: Collection[str]) -> None:
        """End the guests that an earlier process of this host ran for VirtualMachineInstances that are gone."""
        await asyncio.to_thread(self._end_others, frozenset(uids))

    async def _seed(self, spec: GuestSpec) -> Mapping[str, bytes]:
        """The files of the NoCloud disk that KubeVirt would make; none when the guest has no such volume."""
        vmi = vmispec.decode(spec.vmi)
        sources = [volume.cloud_init_no_cloud for volume in vmi.spec.volumes if volume.cloud_init_no_cloud]
        if not sources:
            return {}
        names = {one.name for one in (sources[0].secret_ref, sources[0].network_data_secret_ref) if one}
        secrets = {name: await self._host.secret(spec.namespace, name) for name in names}
        return cloudinit.no_cloud(vmi, sources[0], spec.hostname, secrets.__getitem__)

    def _places(self, uid: str) -> Places:
        return Places(self._root() / uid)

    def _root(self) -> Path:
        return self._layout.directory / "guests" / self._node

    def _end_others(self, uids: frozenset[str]) -> None:
        for directory in self._root().glob("*"):
            if directory.name not in uids:
                places = Places(directory)
                if (process := places.remembered()) is not None:
                    stop(process, grace=0.0)
                places.remove()


def _check_disks(spec: GuestSpec) -> None:
    """Raises ``Terminal`` when the guest has the volume of a claim: a process has no disks to find it on."""
    for volume in vmispec.decode(spec.vmi).spec.volumes:
        if volume.persistent_volume_claim is not None or volume.data_volume is not None:
            raise Terminal(
                f"volume {volume.name}: guests of mode process have no disks; use mode qemu", reason="NoDisks"
            )
