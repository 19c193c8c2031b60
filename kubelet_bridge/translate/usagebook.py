"""Everything that is counted on this node: a ledger for each machine, and what those had used that are gone.

It is kept on the disk, so that neither a restart of the bridge nor a boot of a VM meanwhile takes a counter back. What
was counted since the file was last written is counted again from the guests' own counters, which are absolute: it is
lost only where a VM was started anew between that writing and a crash.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable

import msgspec

from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.usage import Figures, InterfaceSample, MachineFigures, Sample, Source, Totals, Usage
from kubelet_bridge.translate.counters import Counter, Since
from kubelet_bridge.translate.podusage import is_fresh, network_total, total
from kubelet_bridge.translate.usageledger import MOST, Ledger, figures

_GONE_REMEMBERED = 4096

NETWORK = "all"
"""The interface whose traffic is that of all machines together."""


class Kept(msgspec.Struct):
    """What is on the disk.

    Attributes:
        since: when counting began.
        gone_cpu, gone_network: of machines that are no more.
        bridge: our own CPU time, and of the processes before us.
    """

    since: int
    gone_cpu: int = 0
    gone_network: InterfaceSample = InterfaceSample(NETWORK, 0, 0)
    bridge: Counter = msgspec.field(default_factory=Counter)
    ledgers: dict[str, Ledger] = {}


class UsageBook:
    """Belongs to one thread. What it hands out never changes.

    Args:
        kept: what an earlier process has left; None for none.
    """

    def __init__(self, kept: Kept | None, now: int) -> None:
        self._kept = kept or Kept(since=now)
        self._kept.bridge.take(0, Since.ZERO)
        self._machines = {uid: _silent(one) for uid, one in self._kept.ledgers.items()}
        self._cpu = self._kept.gone_cpu + sum(map(_cpu, self._kept.ledgers.values()))
        self._network = network_total([self._kept.gone_network, *map(_traffic, self._kept.ledgers.values())], NETWORK)
        self._bridge: Figures | None = None
        self._latest = 0
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._process_started_at = now
        self.changed = False

    def take(self, key: PodKey, sample: Sample) -> None:
        """Count a sample of the machine of ``key``; of one that was struck off nothing is counted twice."""
        if key.uid in self._gone:
            return
        ledger = self._kept.ledgers.get(key.uid)
        if ledger is None:
            ledger = self._kept.ledgers[key.uid] = Ledger(key.owner.uid)
        cpu, traffic = _cpu(ledger), ledger.traffic
        self._machines[key.uid] = made = ledger.take(sample, self._machines.get(key.uid))
        self._cpu += _cpu(ledger) - cpu
        grown = (now - before for now, before in zip(ledger.traffic, traffic, strict=True))
        self._network = network_total([self._network, InterfaceSample(NETWORK, *grown)], NETWORK)
        self._latest = max(self._latest, made.machine.at)
        self.changed = True

    def take_own(self, at: int, used: Usage) -> None:
        """What this process has used since it began."""
        cpu = self._kept.bridge.take(used.cpu or 0, Since.BEFORE)
        self._bridge = figures(at, cpu, used, self._bridge)
        self._latest = max(self._latest, at)

    def machines(self) -> dict[str, MachineFigures]:
        """The figures of every machine, by its uid; before it has told something, only what it had used."""
        return dict(self._machines)

    def is_told(self, uid: str, now: int) -> bool:
        """Whether an agent has told of the machine lately: then nobody else needs to be asked."""
        found = self._machines.get(uid)
        return found is not None and found.source is Source.AGENT and is_fresh(found, now)

    def totals(self) -> Totals:
        """The node's counters, as they are now."""
        return Totals(
            cpu=min(self._cpu + self._kept.bridge.total, MOST), network=self._network, latest=self._latest,
            bridge=self._bridge, started_at=self._kept.since, process_started_at=self._process_started_at,
        )  # fmt: skip

    def keep_only(self, pods: Collection[str]) -> None:
        """Strike off the machines of Pods whose uid is not in ``pods``: they are gone."""
        for uid in [uid for uid, one in self._kept.ledgers.items() if one.pod_uid not in pods]:
            ledger = self._kept.ledgers.pop(uid)
            self._machines.pop(uid, None)
            self._gone[uid] = None
            self._kept.gone_cpu = min(self._kept.gone_cpu + _cpu(ledger), MOST)
            self._kept.gone_network = network_total([self._kept.gone_network, _traffic(ledger)], NETWORK)
            self.changed = True
        while len(self._gone) > _GONE_REMEMBERED:
            self._gone.popitem(last=False)

    def dump(self) -> bytes:
        """What is to be on the disk."""
        self.changed = False
        return msgspec.json.encode(self._kept)


def node_figures(totals: Totals, machines: Iterable[MachineFigures], now: int) -> Figures:
    """The whole node: its counters, and the rest of what has told something lately and of the bridge itself."""
    own = totals.bridge or Figures(at=now)
    fresh = total([], [own, *(one.machine for one in machines if is_fresh(one, now))])
    return msgspec.structs.replace(fresh, at=totals.latest or now, cpu=totals.cpu)


def load(raw: bytes) -> Kept | None:
    """What ``dump`` made; None when it cannot be read."""
    try:
        return msgspec.json.decode(raw, type=Kept)
    except msgspec.DecodeError:
        return None


def _silent(ledger: Ledger) -> MachineFigures:
    used = Figures(at=0, cpu=_cpu(ledger))
    return MachineFigures(machine=used, boot=used, instance=ledger.instance)


def _cpu(ledger: Ledger) -> int:
    return 0 if ledger.cpu is None else ledger.cpu.total


def _traffic(ledger: Ledger) -> InterfaceSample:
    return InterfaceSample(NETWORK, *ledger.traffic)
