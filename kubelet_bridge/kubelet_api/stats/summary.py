"""``/stats/summary``: figures as ``v1alpha1.Summary``."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from kubelet_bridge.kubelet_api.stats.v1alpha1 import (
    ClaimReference,
    ContainerStats,
    CpuStats,
    FsStats,
    Interface,
    MemoryStats,
    NetworkStats,
    NodeStats,
    PodReference,
    PodStats,
    ProcessStats,
    VolumeStats,
)
from kubelet_bridge.model.usage import (
    ContainerUsage,
    DiskUsage,
    Figures,
    FilesystemSample,
    InterfaceSample,
    NodeUsage,
    PodUsage,
    VolumeUsage,
)


def encode(node: NodeUsage, *, only_cpu_and_memory: bool = False) -> bytes:
    """``Summary``. A Pod of which nobody knows anything is left out, as a kubelet leaves out one without a sandbox.

    Each Pod is encoded by itself: nothing else runs while the encoder does.
    """
    brief = only_cpu_and_memory
    encoder = msgspec.json.Encoder()
    pods = (encoder.encode(_pod(one, one.figures, brief)) for one in node.pods if one.figures is not None)
    return b"".join((b'{"node":', encoder.encode(_node(node, brief)), b',"pods":[', b",".join(pods), b"]}"))


def _node(node: NodeUsage, brief: bool) -> NodeStats:
    bridge = ContainerStats(
        "kubelet", _time(node.process_started_at), cpu=_cpu(node.bridge), memory=_memory(node.bridge, None)
    )
    found = NodeStats(
        node.name, _time(node.started_at), system_containers=[bridge], cpu=_cpu(node.figures),
        memory=_memory(node.figures, node.memory or None),
    )  # fmt: skip
    if not brief:
        found.network = _network(node.interfaces, node.figures.at)
        found.fs = _disk(node.disk)
    return found


def _pod(pod: PodUsage, figures: Figures, brief: bool) -> PodStats:
    facts = pod.facts
    found = PodStats(
        PodReference(facts.name, facts.namespace, facts.uid), _time(facts.started_at),
        [_container(one, brief) for one in pod.containers], cpu=_cpu(figures), memory=_memory(figures, None),
    )  # fmt: skip
    if brief:
        return found
    found.network = _network(pod.interfaces, figures.at)
    found.volume = [_volume(facts.namespace, one) for one in pod.volumes]
    if figures.processes is not None:
        found.process_stats = ProcessStats(figures.processes)
    return found


def _container(container: ContainerUsage, brief: bool) -> ContainerStats:
    known = container.figures
    found = ContainerStats(
        known.name, _time(known.started_at), cpu=_cpu(known.figures),
        memory=_memory(known.figures, container.facts.memory_limit),
    )  # fmt: skip
    if not brief:
        found.rootfs = _used(known.rootfs, known.figures.at)
        found.logs = _used(known.logs, known.figures.at)
    return found


def _cpu(figures: Figures) -> CpuStats | None:
    if figures.cpu is None:
        return None
    return CpuStats(_moment(figures.at), figures.rate, figures.cpu)


def _memory(figures: Figures, limit: int | None) -> MemoryStats | None:
    if figures.working_set is None:
        return None
    available = None if limit is None else max(0, limit - figures.working_set)
    return MemoryStats(_moment(figures.at), available, figures.memory, figures.working_set, figures.rss)


def _network(interfaces: Iterable[InterfaceSample], at: int) -> NetworkStats | None:
    every = [Interface(one.name, one.rx_bytes, one.rx_errors, one.tx_bytes, one.tx_errors) for one in interfaces]
    if not every:
        return None
    default = min(every, key=lambda one: _rank(one.name))
    return NetworkStats(
        _moment(at), default.name, default.rx_bytes, default.rx_errors, default.tx_bytes, default.tx_errors, every
    )


def _rank(interface: str) -> int:
    """The machine's own interface comes before bridges and pairs that containers have."""
    name = interface.rpartition("/")[2]
    return 0 if name == "eth0" else 1 if name.startswith(("en", "eth", "default")) else 2


def _volume(namespace: str, volume: VolumeUsage) -> VolumeStats:
    one = volume.filesystem
    return VolumeStats(
        time=_moment(volume.at), name=volume.facts.name,
        pvc_ref=ClaimReference(volume.facts.claim, namespace) if volume.facts.claim else None, **_space(one),
    )  # fmt: skip


def _space(one: FilesystemSample) -> dict[str, int]:
    space = {"available_bytes": max(0, one.total - one.used), "capacity_bytes": one.total, "used_bytes": one.used}
    if one.inodes:
        space |= {
            "inodes": one.inodes, "inodes_used": one.inodes_used, "inodes_free": max(0, one.inodes - one.inodes_used)
        }  # fmt: skip
    return space


def _disk(disk: DiskUsage | None) -> FsStats | None:
    if disk is None:
        return None
    return FsStats(
        _moment(disk.at), disk.available, disk.total, disk.total - disk.available, disk.inodes_free, disk.inodes,
        disk.inodes - disk.inodes_free,
    )  # fmt: skip


def _used(size: int | None, at: int) -> FsStats | None:
    return None if size is None else FsStats(_moment(at), used_bytes=size)


def _time(nanoseconds: int) -> str | None:
    """None, which is null, for a time that is not known: ``metav1.Time``'s zero."""
    return _moment(nanoseconds) if nanoseconds > 0 else None


def _moment(nanoseconds: int) -> str:
    return _rfc3339(nanoseconds // 10**9)


@lru_cache(maxsize=4096)
def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
