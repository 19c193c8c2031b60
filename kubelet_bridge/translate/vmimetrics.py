"""What virt-handler tells Prometheus of the VMIs on its node, as samples.

Names: pkg/monitoring/metrics/virt-handler/domainstats in KubeVirt 1.9. CPU time is QEMU's on that node: after a
migration it begins anew. Where the guest has a balloon driver, memory is the guest's own view, as an agent would tell
it; else what QEMU holds of the host's, which never shrinks.
"""

import math
import re
from collections.abc import Collection, Iterator

from kubelet_bridge.model.usage import InterfaceSample, Sample, Source, Usage
from kubelet_bridge.translate.usageledger import MOST

Name = tuple[str, str]
"""Namespace and name of a VMI."""

_PREFIX = b"kubevirt_vmi_"
_LINE = re.compile(rb"kubevirt_vmi_(?P<metric>[a-z0-9_]+)\{(?P<labels>.*)\} (?P<value>\S+)(?: -?\d+)?")
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_FIGURES = frozenset({
    b"cpu_usage_seconds_total", b"memory_resident_bytes", b"memory_available_bytes", b"memory_unused_bytes",
    b"memory_usable_bytes",
})  # fmt: skip
_NETWORK = {
    b"network_receive_bytes_total": 0, b"network_transmit_bytes_total": 1, b"network_receive_errors_total": 2,
    b"network_transmit_errors_total": 3,
}  # fmt: skip
_MOST_INTERFACES = 64


class Reading:
    """One VMI, as it is put together from the lines about it."""

    def __init__(self) -> None:
        self.figures: dict[bytes, float] = {}
        self.interfaces: dict[str, list[int]] = {}

    def sample(self, *, at: int, instance: str, node: str) -> Sample:
        """As the sample of VMI ``instance`` on ``node``."""
        return Sample(
            at=at, taken_at=at, source=Source.KUBEVIRT, instance=instance, epoch=f"{instance}/{node}",
            machine=self._usage(),
            interfaces=tuple(InterfaceSample(name, *counts) for name, counts in self.interfaces.items()),
        )  # fmt: skip

    def _usage(self) -> Usage:
        cpu = self.figures.get(b"cpu_usage_seconds_total")
        resident, available, unused, usable = (
            self._bytes(name) for name in (
                b"memory_resident_bytes", b"memory_available_bytes", b"memory_unused_bytes", b"memory_usable_bytes",
            )
        )  # fmt: skip
        used = available - unused if available and unused is not None else None
        working_set = available - usable if available and usable is not None else None
        return Usage(
            cpu=None if cpu is None else _whole(cpu * 1e9), memory=_known(used) or resident,
            working_set=_known(working_set) or _known(used) or resident, rss=resident,
        )  # fmt: skip

    def _bytes(self, name: bytes) -> int | None:
        value = self.figures.get(name)
        return None if value is None else _whole(value)


def read(text: bytes, wanted: Collection[Name]) -> dict[Name, Reading]:
    """What ``text`` says of the VMIs that are wanted; it speaks of every VMI of its node, and of much else."""
    found: dict[Name, Reading] = {}
    for metric, labels, value in _lines(text):
        name = labels.get(b"namespace", b"").decode(), labels.get(b"name", b"").decode()
        if name not in wanted:
            continue
        reading = found.setdefault(name, Reading())
        if (column := _NETWORK.get(metric)) is None:
            reading.figures[metric] = value
        elif len(reading.interfaces) < _MOST_INTERFACES:
            interface = labels.get(b"interface", b"").decode(errors="replace")
            reading.interfaces.setdefault(interface, [0, 0, 0, 0])[column] = _whole(value)
    return found


def _lines(text: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes], float]]:
    for line in text.split(b"\n"):
        if not line.startswith(_PREFIX) or (match := _LINE.fullmatch(line)) is None:
            continue
        metric = match["metric"]
        if metric not in _FIGURES and metric not in _NETWORK:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if math.isfinite(value) and value >= 0:
            yield metric, dict(_LABEL.findall(match["labels"])), value


def _whole(value: float) -> int:
    return int(min(value, MOST))


def _known(size: int | None) -> int | None:
    return size if size is not None and size > 0 else None
