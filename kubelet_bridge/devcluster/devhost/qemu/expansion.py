"""Lets the disks of a running machine grow with their claims, as virt-launcher does (block_resize)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kubelet_bridge.devcluster.devhost.qemu import disks, plugging, storage, vmispec
from kubelet_bridge.devcluster.devhost.runtime import Host

Execute = Callable[[str, dict[str, Any] | None], Awaitable[Any]]


class Expander:
    """The disks of one machine that are claims' volumes."""

    def __init__(self, execute: Execute, host: Host) -> None:
        self._execute = execute
        self._host = host
        self._seen: dict[str, int] = {}

    async def follow(self, vmi: bytes, plugged: frozenset[str]) -> None:
        """Make each disk as large as its claim allows; none ever gets smaller.

        Raises:
            Transient: the claim cannot be looked up, or QEMU refuses.
            Terminal: the volume has lost its files.
        """
        claimed = claimed_disks(vmispec.decode(vmi), plugged)
        if all(self._seen.get(node) == source.size for node, source in claimed.items()):
            return
        nodes = await self._execute("query-named-block-nodes", {"flat": True})
        sizes = {str(node["node-name"]): int(node["image"]["virtual-size"]) for node in nodes}
        for node, source in claimed.items():
            if node in sizes and self._seen.get(node) != source.size:
                await self._grow(node, source, sizes[node])
            self._seen[node] = source.size

    async def _grow(self, node: str, source: disks.Claimed, size: int) -> None:
        image = await self._host.claimed_image(source.namespace, source.claim)
        if image is None:
            return
        path = await asyncio.to_thread(storage.claimed_disk, source, image)
        there = (await asyncio.to_thread(path.stat)).st_size
        if there > size:
            await self._execute("block_resize", {"node-name": node, "size": there})


def claimed_disks(vmi: vmispec.Vmi, plugged: frozenset[str]) -> Mapping[str, disks.Claimed]:
    """The disks that are claims' volumes, by QEMU's names of them: from the start, or ``plugged`` in since."""
    cold = {f"disk{index}": drive for index, drive in enumerate(disks.drives(vmi))}
    hot = {plugging.nodes(name)[1]: disks.drive(vmi, name) for name in plugged}
    return {node: drive.source for node, drive in (cold | hot).items() if isinstance(drive.source, disks.Claimed)}
