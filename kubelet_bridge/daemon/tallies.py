"""What is counted anew at each scrape of our own metrics."""

from collections import Counter

import msgspec

from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.reconcile.syncloop import SyncLoop
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.telemetry.metrics import Metrics


def tally(metrics: Metrics, view: NodeView, store: IntentStore, loop: SyncLoop) -> None:
    """Count intents, Pods, VMs, and Pods that wait for a worker."""
    metrics.queue_depth.set_function(lambda: len(loop.queue))
    metrics.count("intents", "Live intents.", "status", lambda: Counter(one.status for one in store.live()))
    metrics.count("pods", "Pods of this node.", "phase", lambda: Counter(map(_phase, view.pods.all())))
    metrics.count("vms", "VMs of this node.", "status", lambda: Counter(map(_printable, view.vms.all())))


class _PodStatus(msgspec.Struct):
    phase: str = "Pending"


class _PodPhase(msgspec.Struct):
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


def _phase(pod: Cached) -> str:
    return msgspec.json.decode(pod.raw, type=_PodPhase).status.phase


def _printable(vm: Cached) -> str:
    return msgspec.json.decode(vm.raw, type=VirtualMachine).status.printable_status or "Unknown"
