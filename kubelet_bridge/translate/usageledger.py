"""What is counted of one machine, from one sample to the next, over its boots, its moves and our restarts.

Who reads the figures decides what a counter may do:

- **A container's CPU** begins at zero with each run, together with another start time. metrics-server takes a
  difference only of two points of one run (``storage/pod.go``: the start time of the newer is before the time of the
  older), and drops the container when CPU or start time went down (``storage/types.go``). So the start time of a run is
  fixed when the run is first seen.
- **A Pod's and a node's CPU, and bytes of a network interface**, have no start time beside them. Prometheus' ``rate``
  would take a drop for a reset, and count everything up to then again. So they never go down while the Pod lives.
- **A container that is a name for the VM** runs for as long as the VM's instance, whatever is rebooted inside.
"""

import msgspec

from kubelet_bridge.model.usage import (
    ContainerFigures,
    ContainerSample,
    Figures,
    InterfaceSample,
    MachineFigures,
    Sample,
    Source,
    Usage,
)
from kubelet_bridge.translate.counters import Counter, Since

SECOND = 10**9
_MILLISECOND = 10**6
_TRUSTED_SKEW = 5 * SECOND
"""A guest's clock that is off by less is taken as it is, so that start times are those of the Pod's status."""
MOST = 2**60
"""No figure is larger: a guest may say anything, and sums have to fit into the 64 bits that readers have."""


Counters = tuple[Counter, Counter, Counter, Counter]
"""Received and sent bytes, and errors, of one interface."""


class Run(msgspec.Struct, array_like=True):
    """One run of a container: by which start time the guest knows it, which we publish, and its CPU time."""

    known_as: int
    started_at: int
    cpu: Counter


class Ledger(msgspec.Struct):
    """One machine. Plain data, so that it can be kept on disk; ``figures`` and rates begin anew when it is read.

    Attributes:
        before_instance: ``cpu`` when the current instance began.
        traffic: of all interfaces together, those included that are gone: bytes and errors as in ``InterfaceSample``.
    """

    pod_uid: str
    source: str = ""
    instance: str = ""
    epoch: str = ""
    cpu: Counter | None = None
    before_instance: int = 0
    runs: dict[str, Run] = {}
    interfaces: dict[str, Counters] = {}
    traffic: tuple[int, int, int, int] = (0, 0, 0, 0)

    def take(self, sample: Sample, before: MachineFigures | None) -> MachineFigures:
        """Count a sample; what to publish from now on. ``before`` is what it was until now."""
        at = sample.at if before is None else max(sample.at, before.machine.at + _MILLISECOND)
        since = self._since(sample)
        total = self._machine_cpu(sample, since)
        machine = figures(at, total, sample.machine, before.machine if before else None)
        boot_total = None if total is None else total - self.before_instance
        previous = {one.name: one for one in before.containers} if before else {}
        containers = tuple(self._container(at, sample, one, previous.get(one.name)) for one in sample.containers)
        if sample.source is Source.AGENT:  # KubeVirt knows of no containers: those of before may still run
            self.runs = {one.name: self.runs[one.name] for one in sample.containers}
        self.source, self.instance, self.epoch = sample.source, sample.instance or self.instance, sample.epoch
        return MachineFigures(
            machine=machine, boot=msgspec.structs.replace(machine, cpu=boot_total), source=sample.source,
            instance=self.instance, containers=containers, filesystems=sample.filesystems,
            interfaces=self._interfaces(sample, since),
        )  # fmt: skip

    def _is_another(self, instance: str) -> bool:
        return bool(instance and self.instance and instance != self.instance)

    def _since(self, sample: Sample) -> Since:
        if self.source == sample.source:
            return Since.BEFORE if self.epoch == sample.epoch else Since.ZERO
        return Since.ZERO if self._is_another(sample.instance) else Since.ELSEWHERE

    def _machine_cpu(self, sample: Sample, since: Since) -> int | None:
        if self._is_another(sample.instance) and self.cpu is not None:
            self.before_instance = self.cpu.total
        reading = sample.machine.cpu
        if reading is None:
            return None if self.cpu is None else self.cpu.total
        if self.cpu is None:
            self.cpu = Counter.at(reading)
            return reading
        return min(self.cpu.take(reading, since), MOST)

    def _container(
        self, at: int, sample: Sample, one: ContainerSample, before: ContainerFigures | None
    ) -> ContainerFigures:
        run, reading = self.runs.get(one.name), one.usage.cpu or 0
        if run is None or run.known_as != one.started_at:
            run, before = Run(one.started_at, _by_our_clock(sample, one.started_at), Counter.at(reading)), None
            self.runs[one.name] = run
        else:
            run.cpu.take(reading, Since.BEFORE)
        cpu = min(run.cpu.total, MOST) if one.usage.cpu is not None else None
        return ContainerFigures(
            name=one.name, started_at=run.started_at, rootfs=one.rootfs, logs=one.logs,
            figures=figures(at, cpu, one.usage, before.figures if before else None),
        )  # fmt: skip

    def _interfaces(self, sample: Sample, since: Since) -> tuple[InterfaceSample, ...]:
        """Those that are gone are forgotten: names are the guest's to choose, and it could choose without end."""
        known, self.interfaces = self.interfaces, {}
        return tuple(self._interface(one, known.get(one.name), since) for one in sample.interfaces)

    def _interface(self, one: InterfaceSample, known: Counters | None, since: Since) -> InterfaceSample:
        counters = known or (Counter(), Counter(), Counter(), Counter())
        before = [counter.total for counter in counters]
        readings = (one.rx_bytes, one.tx_bytes, one.rx_errors, one.tx_errors)
        for counter, reading in zip(counters, readings, strict=True):
            counter.take(reading, since if known else Since.ZERO)
        rx, tx, rx_errors, tx_errors = (counter.total for counter in counters)
        grown = [counter.total - was for counter, was in zip(counters, before, strict=True)]
        traffic = self.traffic
        self.traffic = (
            traffic[0] + grown[0], traffic[1] + grown[1], traffic[2] + grown[2], traffic[3] + grown[3]
        )  # fmt: skip
        self.interfaces[one.name] = counters
        return InterfaceSample(
            one.name, min(rx, MOST), min(tx, MOST), min(rx_errors, MOST), min(tx_errors, MOST)
        )  # fmt: skip


def figures(at: int, cpu: int | None, usage: Usage, before: Figures | None) -> Figures:
    """Figures of ``at``, with the rate since ``before``."""
    rate = None
    if before is not None and before.cpu is not None and cpu is not None and at > before.at > 0:
        rate = min(max(0, cpu - before.cpu) * SECOND // (at - before.at), MOST)
    return Figures(
        at=at, cpu=cpu, rate=rate, memory=usage.memory, working_set=usage.working_set, rss=usage.rss,
        processes=usage.processes,
    )  # fmt: skip


def _by_our_clock(sample: Sample, started_at: int) -> int:
    skew = sample.at - sample.taken_at
    return started_at if sample.source is Source.KUBEVIRT or abs(skew) < _TRUSTED_SKEW else started_at + skew
