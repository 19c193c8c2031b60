"""What this node uses: samples come in, are counted and kept on the disk, and go out to those who scrape."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from kubelet_bridge.aio import files
from kubelet_bridge.aio.tasks import close, every
from kubelet_bridge.daemon.ownusage import disk_usage, own_usage
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kubelet_api.stats.routes import Collect
from kubelet_bridge.kubelet_api.stats.volumes import ClaimUsage
from kubelet_bridge.model.core import Node, Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.usage import Figures, NodeUsage, PodFacts, PodUsage, Sample
from kubelet_bridge.translate.podfacts import pod_facts
from kubelet_bridge.translate.podusage import pod_usage
from kubelet_bridge.translate.usagebook import Kept, UsageBook, load, node_figures

log = structlog.get_logger(__name__)

_EVERY = 15.0
_SAVE_EVERY = 60.0
_POD = msgspec.json.Decoder(Pod)

PodUids = Callable[[], Collection[str] | None]
"""Of the Pods that there are; None while that is not known."""


class Capacity(msgspec.Struct, frozen=True):
    """What the Node offers: cores and bytes."""

    cores: int = 0
    memory: int = 0


def capacity(node: Node) -> Capacity:
    """As the Node has it; 0 for what cannot be read."""
    return Capacity(_whole(node.status.capacity.get("cpu")), _whole(node.status.capacity.get("memory")))


def _whole(amount: str | int | float | None) -> int:
    try:
        return 0 if amount is None else Quantity.parse(amount).ceil()
    except InvalidQuantity:
        return 0


class NodeMeter:
    """A part of the process: opened before anybody scrapes or tells.

    Args:
        pods: every Pod of this node, as cached.
        alive: what ``pods`` are and are to be; the machines of others are struck off.
    """

    def __init__(
        self, name: str, directory: Path, *, pods: Callable[[], list[Cached]], alive: PodUids,
        capacity: Callable[[], Capacity], wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._name, self._directory, self._file = name, directory, directory / "usage.json"
        self._pods, self._alive, self._capacity, self._wall_clock = pods, alive, capacity, wall_clock
        self._book = UsageBook(None, wall_clock())
        self._facts = _FactsCache()

    async def __aenter__(self) -> Self:
        self._book = UsageBook(await self._load(), self._wall_clock())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close("usage", self._save(), limit=5.0)

    async def run(self) -> None:
        """Measure ourselves and keep the book, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(_EVERY, self._measure), name="usage: own")
            group.create_task(every(_SAVE_EVERY, self._settle, jitter=0.1), name="usage: file")

    def record(self, key: PodKey, sample: Sample) -> None:
        """A machine has told what it uses."""
        self._book.take(key, sample)

    def is_told(self, uid: str) -> bool:
        """Whether the agent of a machine uid has told something lately."""
        return self._book.is_told(uid, self._wall_clock())

    def freeze(self) -> Collect:
        """What is known now; the rest of the work may be done on any thread."""
        now, capacity, pods = self._wall_clock(), self._capacity(), self._pods()
        machines, totals = self._book.machines(), self._book.totals()

        def collect() -> NodeUsage:
            figures = node_figures(totals, machines.values(), now)
            return NodeUsage(
                name=self._name, figures=figures, bridge=totals.bridge or Figures(at=now),
                started_at=totals.started_at, process_started_at=totals.process_started_at,
                pods=tuple(pod_usage(one, machines, now) for one in self._facts.of(pods)),
                interfaces=(totals.network,), disk=disk_usage(self._directory, now), cores=capacity.cores,
                memory=capacity.memory,
            )  # fmt: skip

        return collect

    def freeze_claims(self) -> ClaimUsage:
        """The same of the Pods that have claims, and of nothing else."""
        now, pods, machines = self._wall_clock(), self._pods(), self._book.machines()

        def collect() -> list[PodUsage]:
            having = (one for one in self._facts.of(pods) if any(volume.claim for volume in one.volumes))
            return [pod_usage(one, machines, now) for one in having]

        return collect

    async def _measure(self) -> None:
        used = await asyncio.to_thread(own_usage)
        self._book.take_own(self._wall_clock(), used)

    async def _settle(self) -> None:
        if (alive := self._alive()) is not None:
            self._book.keep_only(alive)
        await self._save()

    async def _load(self) -> Kept | None:
        try:
            raw = await files.read(self._file)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("earlier usage cannot be read; counters begin anew", error=str(error))
            return None
        if (kept := await asyncio.to_thread(load, raw)) is None:
            log.warning("earlier usage cannot be understood; counters begin anew", file=str(self._file))
        return kept

    async def _save(self) -> None:
        if not self._book.changed:
            return
        try:
            await files.write_private(self._file, self._book.dump())
        except OSError as error:  # the next turn writes it; what is lost by then is little
            log.warning("usage cannot be written", error=str(error))


class _FactsCache:
    """A Pod is decoded once for each of its versions."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, PodFacts]] = {}

    def of(self, pods: Iterable[Cached]) -> list[PodFacts]:
        known, current = self._known, dict[str, tuple[bytes, PodFacts]]()
        for one in pods:
            entry = known.get(one.head.uid)
            if entry is None or entry[0] is not one.raw:
                entry = one.raw, pod_facts(_POD.decode(one.raw))
            current[one.head.uid] = entry
        self._known = current
        return [facts for _, facts in current.values()]
