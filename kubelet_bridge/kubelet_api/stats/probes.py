"""``/metrics/probes``: a kubelet counts its probes there, by result (``prober_probe_total``).

Ours are made by the agents or by KubeVirt's launchers, and neither tells of each. Nothing is counted that nobody knows:
what is left is ``process_start_time_seconds``, which a kubelet has there as well.
"""

from kubelet_bridge.kubelet_api.stats.exposition import Family, exposition, seconds
from kubelet_bridge.model.usage import NodeUsage


def encode(node: NodeUsage) -> bytes:
    """The text."""
    started = Family(
        "process_start_time_seconds", "gauge", "[ALPHA] Start time of the process since unix epoch in seconds."
    )
    started.add("", seconds(node.process_started_at))
    return exposition([started])
