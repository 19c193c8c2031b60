"""How metrics-server reads ``/metrics/resource``, and what it makes of two readings: its rules, written out.

From sigs.k8s.io/metrics-server v0.9.0: ``pkg/scraper/client/resource/decode.go``, ``pkg/storage/{pod,node,types}.go``.
"""

import re
from dataclasses import dataclass, field, replace

RESOLUTION = 15.0
FRESH = 10.0

_SERIES = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)(?: (-?\d+))?$")


@dataclass(frozen=True)
class Point:
    """Seconds, core-seconds, bytes."""

    start: float = 0.0
    at: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0


@dataclass
class Batch:
    """One scrape."""

    node: Point | None = None
    pods: dict[tuple[str, str], dict[str, Point]] = field(default_factory=dict)


def decode(text: bytes, *, default_time: float = 0.0) -> Batch:
    """``decodeBatch``: a Pod one of whose containers has no CPU or no memory is dropped, and so is such a node."""
    found: dict[tuple[str, str], dict[str, Point]] = {}
    node = Point()
    for line in text.splitlines():
        if line.startswith(b"#") or not line:
            continue
        match = _SERIES.match(line)
        assert match is not None, line
        name, labels, number, moment = match.groups()
        value, at = float(number), default_time if moment is None else int(moment) / 1000
        match name:
            case b"node_cpu_usage_seconds_total":
                node = replace(node, cpu=value, at=at)
            case b"node_memory_working_set_bytes":
                node = replace(node, memory=value, at=at)
            case b"container_cpu_usage_seconds_total":
                _edit(found, labels, cpu=value, at=at)
            case b"container_memory_working_set_bytes":
                _edit(found, labels, memory=value, at=at)
            case b"container_start_time_seconds":
                _edit(found, labels, start=value)
            case _:
                pass
    complete = {
        pod: points for pod, points in found.items()
        if all(int(one.cpu * 1e9) and int(one.memory) for one in points.values())
    }  # fmt: skip
    return Batch(node if node.at and int(node.cpu * 1e9) and int(node.memory) else None, complete)


def _edit(found: dict[tuple[str, str], dict[str, Point]], labels: bytes, **change: float) -> None:
    container, pod, namespace = (_label(labels, name) for name in (b"container", b"pod", b"namespace"))
    points = found.setdefault((namespace, pod), {})
    points[container] = replace(points.get(container, Point()), **change)


def _label(labels: bytes, name: bytes) -> str:
    """``parseContainerLabels``: the first place where the bytes are, whatever they belong to."""
    start = labels.index(name + b'="') + len(name) + 2
    return labels[start : labels.index(b'"', start)].decode()


class Storage:
    """``podStorage`` and ``nodeStorage``: the last two points of each container."""

    def __init__(self) -> None:
        self._last, self._before = Batch(), Batch()

    def __repr__(self) -> str:
        return f"{self._last} after {self._before}"

    def store(self, batch: Batch) -> None:
        before: dict[tuple[str, str], dict[str, Point]] = {}
        for pod, points in batch.pods.items():
            kept = {name: one for name, point in points.items() if (one := self._previous(pod, name, point))}
            if kept:
                before[pod] = kept
        node = None
        if batch.node is not None and self._last.node is not None:
            node = self._last.node if batch.node.at > self._last.node.at else self._before.node
        self._last, self._before = batch, Batch(node, before)

    def _previous(self, pod: tuple[str, str], name: str, new: Point) -> Point | None:
        if FRESH <= new.at - new.start < RESOLUTION:
            return replace(new, at=new.start, cpu=0.0)
        last = self._last.pods.get(pod, {}).get(name)
        if last is None or new.start >= last.at:
            return None
        if new.at > last.at:
            return last
        before = self._before.pods.get(pod, {}).get(name)
        return before if before is not None and before.at < new.at else None

    def pod(self, namespace: str, name: str) -> dict[str, float] | None:
        """Cores that each container uses; None when ``kubectl top`` would not show the Pod."""
        last, before = (one.pods.get((namespace, name)) for one in (self._last, self._before))
        if last is None or before is None or not last.keys() <= before.keys():
            return None
        return {
            container: usage for container, point in last.items()
            if (usage := _usage(point, before[container])) is not None
        }  # fmt: skip

    def node(self) -> float | None:
        """Cores that the node uses."""
        if self._last.node is None or self._before.node is None:
            return None
        return _usage(self._last.node, self._before.node)


def _usage(last: Point, before: Point) -> float | None:
    """``resourceUsage``: a container whose start time or CPU went down is left out."""
    if last.start < before.start or last.cpu < before.cpu:
        return None
    return (last.cpu - before.cpu) / (last.at - before.at)
