"""Copies KubeVirt's own warnings about a VM onto the Pod, where its owner looks."""

import re
from collections.abc import Callable
from datetime import datetime

import msgspec

from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import ObjectReference
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.resources import EVENTS
from kubelet_bridge.model.snapshot import EventType, PodEvent


class _Warning(msgspec.Struct, frozen=True, rename="camel"):
    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None


_LAUNCHER = re.compile(r"(virt-launcher-[a-z0-9-]*)[a-z0-9]{5}\b")
_COMBINED = "(combined from similar events): "
_DECODER = msgspec.json.Decoder(_Warning)
Record = Callable[[PodKey, list[PodEvent]], None]


class WarningCopier:
    """Watches Warning events about VMs and instances; those of our VMs that are news become events of the Pod."""

    def __init__(self, client: Client, view: NodeView, record: Record, *, since: datetime) -> None:
        self._view = view
        self._record = record
        self._since = since
        self.informers = [
            Informer(client, EVENTS, field_selector=f"type=Warning,involvedObject.kind={kind}")
            for kind in ("VirtualMachine", "VirtualMachineInstance")
        ]
        for informer in self.informers:
            informer.subscribe(self._copy)

    def _copy(self, kind: EventKind, cached: Cached) -> None:
        if kind is EventKind.DELETED:
            return
        warning = _DECODER.decode(cached.raw)
        at = warning.last_timestamp or warning.event_time
        if at is None or at < self._since:  # told before this process began
            return
        if (key := self._about(warning.involved_object)) is not None:
            what = f"{warning.involved_object.kind} {warning.involved_object.name}"
            self._record(key, [PodEvent(EventType.WARNING, warning.reason, f"{what}: {same_words(warning.message)}")])

    def _about(self, about: ObjectReference) -> PodKey | None:
        informer = self._view.vms if about.kind == "VirtualMachine" else self._view.vmis
        cached = informer.get(about.namespace, about.name)
        if cached is None or (about.uid and about.uid != cached.head.uid):
            return None
        return self._view.key_of(cached.head)


def same_words(message: str) -> str:
    """``message`` without the random end of a launcher's name: the next try's message is the same, and is counted."""
    return _LAUNCHER.sub(r"\1*", message.removeprefix(_COMBINED))
