"""``/metrics/cadvisor``: the same figures by cAdvisor's names and labels, by which dashboards ask for them.

Names and words: cadvisor/metrics/prometheus.go; labels: ``containerPrometheusLabelsFunc`` in pkg/kubelet/server. A
series of the Pod as a whole has empty ``container``, ``image`` and ``name``, as that of a Pod's cgroup has: dashboards
leave those out by ``image!=""``. The node's has ``id="/"``. What a guest cannot tell has no series.
"""

from collections.abc import Iterable

from kubelet_bridge.kubelet_api.stats.exposition import Family, exposition, label_set, seconds
from kubelet_bridge.model.usage import (
    ContainerFacts,
    ContainerUsage,
    Figures,
    FilesystemSample,
    InterfaceSample,
    NodeUsage,
    PodUsage,
)

_PERIOD = 100_000
"""Microseconds: the period of a CPU quota."""

_KINDS = {
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed in seconds."),
    "container_fs_inodes_free": ("gauge", "Number of available Inodes"),
    "container_fs_inodes_total": ("gauge", "Number of Inodes"),
    "container_fs_limit_bytes": ("gauge", "Number of bytes that can be consumed by the container on this filesystem."),
    "container_fs_usage_bytes": ("gauge", "Number of bytes that are consumed by the container on this filesystem."),
    "container_last_seen": ("gauge", "Last time a container was seen by the exporter"),
    "container_memory_rss": ("gauge", "Size of RSS in bytes."),
    "container_memory_usage_bytes": (
        "gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed",
    ),
    "container_memory_working_set_bytes": ("gauge", "Current working set in bytes."),
    "container_network_receive_bytes_total": ("counter", "Cumulative count of bytes received"),
    "container_network_receive_errors_total": ("counter", "Cumulative count of errors encountered while receiving"),
    "container_network_transmit_bytes_total": ("counter", "Cumulative count of bytes transmitted"),
    "container_network_transmit_errors_total": (
        "counter", "Cumulative count of errors encountered while transmitting",
    ),
    "container_scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
    "container_spec_cpu_period": ("gauge", "CPU period of the container."),
    "container_spec_cpu_quota": ("gauge", "CPU quota of the container."),
    "container_spec_cpu_shares": ("gauge", "CPU share of the container."),
    "container_spec_memory_limit_bytes": ("gauge", "Memory limit for the container."),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds."),
    "container_threads": ("gauge", "Number of threads running inside the container"),
    "machine_cpu_cores": ("gauge", "Number of logical CPU cores."),
    "machine_memory_bytes": ("gauge", "Amount of memory installed on the machine."),
}  # fmt: skip

Families = dict[str, Family]


def encode(node: NodeUsage) -> bytes:
    """The text."""
    families = {name: Family(name, kind, words) for name, (kind, words) in _KINDS.items()}
    families["container_scrape_error"].add("", 0)
    families["machine_cpu_cores"].add("", node.cores)
    families["machine_memory_bytes"].add("", node.memory)
    _figures(families, _labels("/"), node.figures)
    families["container_start_time_seconds"].add(label_set(_labels("/")), seconds(node.started_at))
    for pod in node.pods:
        if pod.figures is not None:
            _pod(families, pod, pod.figures)
    return exposition(families.values())


def _labels(id_: str, pod: PodUsage | None = None, container: ContainerFacts | None = None) -> dict[str, str]:
    return {
        "container": container.name if container else "",
        "id": id_,
        "image": container.image if container else "",
        "name": container.id if container else "",
        "namespace": pod.facts.namespace if pod else "",
        "pod": pod.facts.name if pod else "",
    }


def _pod(families: Families, pod: PodUsage, figures: Figures) -> None:
    group = f"/kubepods/pod{pod.facts.uid}"
    labels = _labels(group, pod)
    _figures(families, labels, figures)
    _network(families, labels, pod.interfaces, figures.at)
    for volume in pod.volumes:
        _filesystem(families, labels, volume.filesystem, volume.at)
    for container in pod.containers:
        _container(families, pod, container, f"{group}/{container.facts.id or container.facts.name}")


def _figures(families: Families, labels: dict[str, str], figures: Figures) -> None:
    made, at = label_set(labels), figures.at
    if figures.cpu is not None:
        cpu = label_set({**labels, "cpu": "total"})
        families["container_cpu_usage_seconds_total"].add(cpu, seconds(figures.cpu), at)
    for name, value in (
        ("container_memory_usage_bytes", figures.memory), ("container_memory_working_set_bytes", figures.working_set),
        ("container_memory_rss", figures.rss), ("container_threads", figures.processes),
    ):  # fmt: skip
        if value is not None:
            families[name].add(made, value, at)


def _container(families: Families, pod: PodUsage, container: ContainerUsage, id_: str) -> None:
    labels, figures, facts = _labels(id_, pod, container.facts), container.figures.figures, container.facts
    _figures(families, labels, figures)
    made = label_set(labels)
    families["container_start_time_seconds"].add(made, seconds(container.figures.started_at))
    families["container_last_seen"].add(made, seconds(figures.at), figures.at)
    if container.figures.rootfs is not None:
        device = label_set({**labels, "device": ""})
        families["container_fs_usage_bytes"].add(device, container.figures.rootfs, figures.at)
    families["container_spec_memory_limit_bytes"].add(made, facts.memory_limit or 0)
    if facts.cpu_request is not None:
        families["container_spec_cpu_shares"].add(made, max(2, facts.cpu_request * 1024 // 1000))
    if facts.cpu_limit is not None:
        families["container_spec_cpu_period"].add(made, _PERIOD)
        families["container_spec_cpu_quota"].add(made, facts.cpu_limit * _PERIOD // 1000)


def _network(families: Families, labels: dict[str, str], interfaces: Iterable[InterfaceSample], at: int) -> None:
    for one in interfaces:
        made = label_set({**labels, "interface": one.name})
        families["container_network_receive_bytes_total"].add(made, one.rx_bytes, at)
        families["container_network_receive_errors_total"].add(made, one.rx_errors, at)
        families["container_network_transmit_bytes_total"].add(made, one.tx_bytes, at)
        families["container_network_transmit_errors_total"].add(made, one.tx_errors, at)


def _filesystem(families: Families, labels: dict[str, str], filesystem: FilesystemSample, at: int) -> None:
    made = label_set({**labels, "device": filesystem.device})
    families["container_fs_limit_bytes"].add(made, filesystem.total, at)
    families["container_fs_usage_bytes"].add(made, filesystem.used, at)
    if filesystem.inodes:
        families["container_fs_inodes_total"].add(made, filesystem.inodes, at)
        families["container_fs_inodes_free"].add(made, filesystem.inodes - filesystem.inodes_used, at)
