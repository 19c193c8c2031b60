"""``/metrics/cadvisor``: the same figures by cAdvisor's names and labels, by which dashboards ask for them.

Names and words: cadvisor/metrics/prometheus.go; labels: ``containerPrometheusLabelsFunc`` in pkg/kubelet/server. A
series of the Pod as a whole has empty ``container``, ``image`` and ``name``, as that of a Pod's cgroup has: dashboards
leave those out by ``image!=""``. The node's has ``id="/"``. What a guest cannot tell has no series.
"""

from collections.abc import Iterable

from kubelet_bridge.kubelet_api.stats.exposition import Family, escaped, exposition, seconds
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
    root = _Labels("/")
    _figures(families, root, node.figures)
    families["container_start_time_seconds"].add(root.plain, seconds(node.started_at))
    for pod in node.pods:
        if pod.figures is not None:
            _pod(families, pod, pod.figures)
    return exposition(families.values())


class _Labels:
    """Labels of one cgroup, once made; what comes beside them goes where the order of names has it."""

    def __init__(self, id_: str, pod: PodUsage | None = None, container: ContainerFacts | None = None) -> None:
        of, image, name = (container.name, container.image, container.id) if container else ("", "", "")
        namespace, pod_name = (pod.facts.namespace, pod.facts.name) if pod else ("", "")
        self._first = f'{{container="{escaped(of)}"'
        self._second = f'id="{escaped(id_)}",image="{escaped(image)}"'
        self._third = f'name="{escaped(name)}",namespace="{escaped(namespace)}",pod="{escaped(pod_name)}"}}'
        self.plain = f"{self._first},{self._second},{self._third}"

    def cpu(self) -> str:
        return f'{self._first},cpu="total",{self._second},{self._third}'

    def device(self, device: str) -> str:
        return f'{self._first},device="{escaped(device)}",{self._second},{self._third}'

    def interface(self, name: str) -> str:
        return f'{self._first},{self._second},interface="{escaped(name)}",{self._third}'


def _pod(families: Families, pod: PodUsage, figures: Figures) -> None:
    group = f"/kubepods/pod{pod.facts.uid}"
    labels = _Labels(group, pod)
    _figures(families, labels, figures)
    _network(families, labels, pod.interfaces, figures.at)
    devices = set[str]()
    for volume in pod.volumes:
        device = volume.filesystem.device
        if device in devices:  # of another machine of the Pod: a series must not be there twice
            device = f"{volume.facts.name}:{device}"
        devices.add(device)
        _filesystem(families, labels.device(device), volume.filesystem, volume.at)
    for container in pod.containers:
        _container(families, pod, container, f"{group}/{container.facts.id or container.facts.name}")


def _figures(families: Families, labels: _Labels, figures: Figures) -> None:
    made, at = labels.plain, figures.at
    if figures.cpu is not None:
        families["container_cpu_usage_seconds_total"].add(labels.cpu(), seconds(figures.cpu), at)
    for name, value in (
        ("container_memory_usage_bytes", figures.memory), ("container_memory_working_set_bytes", figures.working_set),
        ("container_memory_rss", figures.rss), ("container_threads", figures.processes),
    ):  # fmt: skip
        if value is not None:
            families[name].add(made, value, at)


def _container(families: Families, pod: PodUsage, container: ContainerUsage, id_: str) -> None:
    labels, figures, facts = _Labels(id_, pod, container.facts), container.figures.figures, container.facts
    _figures(families, labels, figures)
    made = labels.plain
    if container.figures.started_at > 0:
        families["container_start_time_seconds"].add(made, seconds(container.figures.started_at))
    families["container_last_seen"].add(made, seconds(figures.at), figures.at)
    if container.figures.rootfs is not None:
        families["container_fs_usage_bytes"].add(labels.device(""), container.figures.rootfs, figures.at)
    families["container_spec_memory_limit_bytes"].add(made, facts.memory_limit or 0)
    if facts.cpu_request is not None:
        families["container_spec_cpu_shares"].add(made, max(2, facts.cpu_request * 1024 // 1000))
    if facts.cpu_limit is not None:
        families["container_spec_cpu_period"].add(made, _PERIOD)
        families["container_spec_cpu_quota"].add(made, facts.cpu_limit * _PERIOD // 1000)


def _network(families: Families, labels: _Labels, interfaces: Iterable[InterfaceSample], at: int) -> None:
    for one in {one.name: one for one in interfaces}.values():  # a guest may say anything, but not twice
        made = labels.interface(one.name)
        families["container_network_receive_bytes_total"].add(made, one.rx_bytes, at)
        families["container_network_receive_errors_total"].add(made, one.rx_errors, at)
        families["container_network_transmit_bytes_total"].add(made, one.tx_bytes, at)
        families["container_network_transmit_errors_total"].add(made, one.tx_errors, at)


def _filesystem(families: Families, made: str, filesystem: FilesystemSample, at: int) -> None:
    families["container_fs_limit_bytes"].add(made, filesystem.total, at)
    families["container_fs_usage_bytes"].add(made, filesystem.used, at)
    if filesystem.inodes:
        families["container_fs_inodes_total"].add(made, filesystem.inodes, at)
        families["container_fs_inodes_free"].add(made, filesystem.inodes - filesystem.inodes_used, at)
