"""Every metric, declared in one place, in a registry of its own.

Names are the kubelet's where the meaning is the same; ours begin with ``kubelet_bridge_``. Seconds and bytes, as
Prometheus wants them.
"""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TINY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_BINDING = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0)
# As pkg/kubelet/metrics/metrics.go has them for kubelet_pod_start_duration_seconds, without the half steps.
_POD_START = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 480, 600, 900, 1200, 1800, 2700, 3600)

Counts = Callable[[], Mapping[str, int]]
"""How many things there are now, by the value of one label; asked at each scrape."""


class Taken(Protocol):
    """What looks anew at each scrape: ``take`` on the event loop, then ``collect`` on any thread."""

    def take(self) -> None:
        """Hold on to what is known now."""

    def collect(self) -> Iterable[Metric]:
        """Tell it."""


class Metrics:
    """The process's metrics: attributes and ``observe_…`` for those who measure, ``scrape`` for those who read."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._counts: list[Taken] = []
        self._declare_corridor()
        self._declare_adapters()
        info = self._gauge("build_info", "Constant 1, labelled with what runs.", "version", "python")
        info.labels(version, platform.python_version()).set(1)
        self._process: ProcessCollector | None = None

    def _declare_corridor(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Keys waiting for a worker.")
        self.queue_latency = self._histogram("workqueue_latency_seconds", "How long a due key waited.", buckets=_QUICK)
        self.queue_retries = self._counter("workqueue_retries_total", "Keys put back after a failure.")
        self.sync_duration = self._histogram("sync_duration_seconds", "One sync of one Pod.", "result", buckets=_QUICK)
        self.pod_start_duration = Histogram(
            "kubelet_pod_start_duration_seconds",
            "From the node's acceptance of a Pod to its VM running.",
            buckets=_POD_START,
            registry=self.registry,
        )
        self.status_patches = self._counter("pod_status_patches_total", "Writes of a Pod's status.", "result")
        self.events_posted = self._counter("events_total", "Events recorded on objects.", "result")
        self._declare_disks()
        self.loop_lag = self._histogram("event_loop_lag_seconds", "Lateness of timers.", buckets=_TINY)

    def _declare_disks(self) -> None:
        self.volume_provision = self._histogram(
            "volume_provision_seconds", "From the node's acceptance of a claim to the claim bound.", buckets=_BINDING
        )
        self.volume_sync_errors = self._counter(
            "volume_sync_errors_total", "Syncs of a claim's disk that failed, or found that it cannot be had."
        )
        self.image_imports = self._counter(
            "image_imports_total",
            "Requests for the import of an image: begun, exists (another was faster) or error.", "result",
        )  # fmt: skip

    def _declare_adapters(self) -> None:
        self.api_requests = self._counter("api_requests_total", "API server requests.", "verb", "resource", "code")
        self.api_duration = self._histogram(
            "api_request_duration_seconds", "API server requests, until the body is read.", "verb", "resource",
            buckets=_QUICK,
        )  # fmt: skip
        self.watch_restarts = self._counter("watch_restarts_total", "Watches that had to be opened again.", "resource")
        self.transactions = self._counter("sqlite_transactions_total", "SQLite transactions.", "name", "result")
        self.transaction_duration = self._histogram(
            "sqlite_transaction_duration_seconds", "SQLite transactions, with their wait.", "name", buckets=_TINY
        )
        self.served_requests = self._counter(
            "kubelet_api_requests_total", "Kubelet API requests.", "route", "method", "code"
        )
        self.sessions = self._gauge("kubelet_api_sessions", "Open exec, attach, port-forward, … sessions.", "what")
        self.session_bytes = self._counter(
            "kubelet_api_session_bytes_total", "What ended sessions took from clients and gave them.",
            "what", "direction",
        )  # fmt: skip

        self.guest_handshakes = self._counter("guest_handshakes_total", "Introductions of agents.", "result")
        self.guest_refused = self._counter("guest_refused_total", "What was not taken of guests.", "reason")
        self.guest_log_bytes = self._counter("guest_log_bytes_total", "Container logs written.")

    def count(self, name: str, documentation: str, label: str, now: Counts) -> None:
        """Publish ``kubelet_bridge_<name>{label}`` from a function that is asked at each scrape."""
        self.add(_CountCollector(f"kubelet_bridge_{name}", documentation, label, now))

    def add(self, collector: Taken) -> None:
        """Publish what ``collector`` finds at each scrape."""
        self._counts.append(collector)
        self.registry.register(collector)

    def observe_api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Record a request to the API server; ``code`` 0 means no answer. Fits ``kube.client.Observer``."""
        self.api_requests.labels(verb, resource, str(code)).inc()
        if verb != "watch":
            self.api_duration.labels(verb, resource).observe(seconds)

    def observe_transaction(self, name: str, seconds: float, *, ok: bool) -> None:
        """Record a SQLite transaction."""
        self.transactions.labels(name, "ok" if ok else "error").inc()
        self.transaction_duration.labels(name).observe(seconds)

    def observe_served(self, route: str, method: str, status: int) -> None:
        """Record a request to the kubelet API. Fits ``kubelet_api.gate.ObserveRequest``."""
        self.served_requests.labels(route, method, str(status)).inc()

    def observe_session(self, what: str, opened: int, received: int, sent: int) -> None:
        """Record a session that begins or ends. Fits ``kubelet_api.audit.ObserveSession``."""
        self.sessions.labels(what).inc(opened)
        for direction, number in (("received", received), ("sent", sent)):
            self.session_bytes.labels(what, direction).inc(number)

    def observe_sync(self, result: str, seconds: float) -> None:
        """Record one run of the sync loop for one key."""
        self.sync_duration.labels(result).observe(seconds)

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics and their content type, in the text form that the scraper's Accept header prefers."""
        # The counting functions look into what lives on the loop; the rest reads /proc and may take its time.
        for collector in self._counts:
            collector.take()
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(self._encode, encode), content_type

    def _encode(self, encode: Callable[[CollectorRegistry], bytes]) -> bytes:
        if self._process is None:
            self._process = ProcessCollector(registry=self.registry)  # reads /proc even when it is made
        return encode(self.registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"kubelet_bridge_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"kubelet_bridge_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"kubelet_bridge_{name}", documentation, labels, buckets=buckets, registry=self.registry)


class _CountCollector(Collector):
    """One gauge whose values exist nowhere but in the function that counts."""

    def __init__(self, name: str, documentation: str, label: str, now: Counts) -> None:
        self._name, self._documentation, self._label, self._now = name, documentation, label, now
        self._taken: Mapping[str, int] = {}

    def take(self) -> None:
        """Count now; ``collect`` may then run on any thread."""
        self._taken = dict(self._now())

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = self._family()
        for value, number in sorted(self._taken.items()):
            family.add_metric([value], number)
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
