"""``kubelet_volume_stats_…`` in ``/metrics``, by which dashboards and alerts tell how full claims are.

Names and words: pkg/kubelet/metrics/collectors/volume_stats.go (Kubernetes 1.36).
"""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kubelet_bridge.model.usage import FilesystemSample, PodUsage

ClaimUsage = Callable[[], Iterable[PodUsage]]
"""The Pods that have claims. Called on a thread."""

_FIGURES: dict[str, tuple[str, Callable[[FilesystemSample], int]]] = {
    "capacity_bytes": ("Capacity in bytes of the volume", lambda one: one.total),
    "available_bytes": ("Number of available bytes in the volume", lambda one: max(0, one.total - one.used)),
    "used_bytes": ("Number of used bytes in the volume", lambda one: one.used),
    "inodes": ("Maximum number of inodes in the volume", lambda one: one.inodes),
    "inodes_free": ("Number of free inodes in the volume", lambda one: max(0, one.inodes - one.inodes_used)),
    "inodes_used": ("Number of used inodes in the volume", lambda one: one.inodes_used),
}


class VolumeCollector(Collector):
    """Asked at each scrape: ``take`` on the event loop, then ``collect`` on any thread."""

    def __init__(self, freeze: Callable[[], ClaimUsage]) -> None:
        self._freeze = freeze
        self._taken: ClaimUsage = list

    def take(self) -> None:
        """Hold on to what is known now."""
        self._taken = self._freeze()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The names, without figures."""
        return self._families({})

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Each claim once: it may have several Pods."""
        found = {
            (pod.facts.namespace, volume.facts.claim): volume.filesystem
            for pod in self._taken()
            for volume in pod.volumes
            if volume.facts.claim
        }
        return self._families(found)

    def _families(self, found: dict[tuple[str, str], FilesystemSample]) -> list[GaugeMetricFamily]:
        families = []
        for name, (words, figure) in _FIGURES.items():
            family = GaugeMetricFamily(
                f"kubelet_volume_stats_{name}", f"[ALPHA] {words}", labels=["namespace", "persistentvolumeclaim"]
            )
            for claim, filesystem in sorted(found.items()):
                family.add_metric([*claim], figure(filesystem))
            families.append(family)
        return families
