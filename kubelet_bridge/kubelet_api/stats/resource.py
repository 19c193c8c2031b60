"""``/metrics/resource``: what metrics-server reads, and with it ``kubectl top`` and the HorizontalPodAutoscaler.

Names, words and stability as in pkg/kubelet/metrics/collectors/resource_metrics.go (Kubernetes 1.36); ``scrape_error``,
deprecated since 1.29, for those who still look at it.

metrics-server's decoder (``pkg/scraper/client/resource/decode.go``) drops a whole Pod when CPU time or working set of
any container is 0, and a container's start time alone is enough to make it one. So a container is written with all
three or not at all: it is left out when its memory is not known (its processes are not there yet, or no longer), and
one that has used less CPU time than can be measured has used a nanosecond.
"""

from kubelet_bridge.kubelet_api.stats.exposition import Family, exposition, label_set, seconds
from kubelet_bridge.model.usage import ContainerUsage, NodeUsage, PodUsage

_LEAST = 1
"""Nanosecond, or byte."""


class _Families:
    def __init__(self) -> None:
        self.node_cpu = Family(
            "node_cpu_usage_seconds_total", "counter",
            "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        )  # fmt: skip
        self.node_memory = Family(
            "node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes"
        )
        self.start = Family(
            "container_start_time_seconds", "gauge",
            "[STABLE] Start time of the container since unix epoch in seconds",
        )  # fmt: skip
        self.cpu = Family(
            "container_cpu_usage_seconds_total", "counter",
            "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        )  # fmt: skip
        self.memory = Family(
            "container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes"
        )
        self.pod_cpu = Family(
            "pod_cpu_usage_seconds_total", "counter",
            "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        )  # fmt: skip
        self.pod_memory = Family(
            "pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes"
        )
        words = "1 if there was an error while getting container metrics, 0 otherwise"
        self.error = Family("resource_scrape_error", "gauge", f"[STABLE] {words}")
        self.old_error = Family("scrape_error", "gauge", f"[ALPHA] (Deprecated since 1.29.0) {words}")


def encode(node: NodeUsage) -> bytes:
    """The text."""
    families = _Families()
    families.error.add("", 0)
    families.old_error.add("", 0)
    figures = node.figures
    families.node_cpu.add("", seconds(max(figures.cpu or 0, _LEAST)), figures.at)
    families.node_memory.add("", max(figures.working_set or 0, _LEAST), figures.at)
    for pod in node.pods:
        _pod(families, pod)
    return exposition(vars(families).values())


def _pod(families: _Families, pod: PodUsage) -> None:
    figures = pod.figures
    if figures is None:
        return
    labels = label_set({"namespace": pod.facts.namespace, "pod": pod.facts.name})
    if figures.cpu is not None:
        families.pod_cpu.add(labels, seconds(figures.cpu), figures.at)
    if figures.working_set is not None:
        families.pod_memory.add(labels, figures.working_set, figures.at)
    for container in pod.containers:
        _container(families, pod, container)


def _container(families: _Families, pod: PodUsage, container: ContainerUsage) -> None:
    figures = container.figures.figures
    if figures.cpu is None or not figures.working_set:
        return
    # virtual-kubelet's end-to-end suite takes the second label for the Pod's name.
    labels = label_set(
        {"container": container.facts.name, "pod": pod.facts.name, "namespace": pod.facts.namespace}
    )  # fmt: skip
    if container.figures.started_at > 0:
        families.start.add(labels, seconds(container.figures.started_at))
    families.cpu.add(labels, seconds(max(figures.cpu, _LEAST)), figures.at)
    families.memory.add(labels, figures.working_set, figures.at)
