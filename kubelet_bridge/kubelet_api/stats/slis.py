"""``/metrics/slis``: the health checks as metrics (k8s.io/component-base/metrics/prometheus/slis)."""

from collections.abc import Mapping

from kubelet_bridge.kubelet_api.health import Check
from kubelet_bridge.kubelet_api.stats.exposition import Family, exposition, label_set


class HealthCounts:
    """What ``checks`` have come to; a scrape makes them once more."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._results: dict[tuple[str, str], int] = {}

    def encode(self) -> bytes:
        """Check, and tell."""
        state = Family(
            "kubernetes_healthcheck", "gauge", "[STABLE] This metric records the result of a single healthcheck."
        )
        counts = Family(
            "kubernetes_healthchecks_total", "counter", "[STABLE] This metric records the results of all healthcheck."
        )
        for name, check in self._checks.items():
            healthy = check() is None
            result = name, "success" if healthy else "error"
            self._results[result] = self._results.get(result, 0) + 1
            state.add(label_set({"name": name, "type": "healthz"}), int(healthy))
        for (name, status), number in sorted(self._results.items()):
            counts.add(label_set({"name": name, "status": status, "type": "healthz"}), number)
        return exposition([state, counts])
