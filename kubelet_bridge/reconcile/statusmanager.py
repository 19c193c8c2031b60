"""Brings a Pod's status in the API to what we know: one patch of what differs, and none when nothing does."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from kubelet_bridge.aio import failpoints
from kubelet_bridge.model.core import PodStatus
from kubelet_bridge.model.snapshot import PodEvent, Snapshot
from kubelet_bridge.reconcile.ports import ClusterPort, EventPort
from kubelet_bridge.translate import podevents, podstatus, statuspatch
from kubelet_bridge.translate.podstatus import Problem

_BEFORE = failpoints.declare("status.patch.before")
_AFTER = failpoints.declare("status.patch.after")


SETTLE = 0.25
"""Seconds for which Running waits for Ready."""

Observer = Callable[[float], None]
"""Told how many seconds a Pod took from its acceptance until its VM ran."""


class StatusManager:
    """Writes Pod statuses, and the events that a change of status means.

    Attributes:
        host_ip: address of our node; empty while it has none.
    """

    def __init__(
        self, cluster: ClusterPort, events: EventPort, *, host_ip: str, observe_start: Observer = lambda _: None
    ) -> None:
        self._cluster = cluster
        self._events = events
        self.host_ip = host_ip
        self._observe_start = observe_start
        self._starting: dict[str, float] = {}
        self._unwritten: dict[str, PodStatus] = {}

    def unwritten(self, uid: str) -> PodStatus | None:
        """The status that the API server has not taken yet; None when it has all we know."""
        return self._unwritten.get(uid)

    def forget(self, uid: str) -> None:
        """The Pod is gone."""
        self._starting.pop(uid, None)
        self._unwritten.pop(uid, None)

    def wanted(self, snapshot: Snapshot, problem: Problem | None, now: datetime) -> PodStatus:
        """The status that ``snapshot`` amounts to."""
        return podstatus.build(snapshot, host_ip=self.host_ip, problem=problem, now=now)

    async def write(self, snapshot: Snapshot, problem: Problem | None, now: datetime) -> float | None:
        """Patch what differs and record the events; return after how many seconds to come back, if it was held back.

        Raises:
            ApiError: the patch was not accepted; nothing was recorded.
        """
        pod = snapshot.pod
        if pod is None or snapshot.intent is None:
            self.forget(snapshot.key.uid)
            return None
        wanted = self.wanted(snapshot, problem, now)
        return await self.bring(snapshot, wanted, now, lambda: podevents.events(pod.status, wanted, snapshot))

    async def bring(
        self, snapshot: Snapshot, wanted: PodStatus, now: datetime, events: Callable[[], Iterable[PodEvent]]
    ) -> float | None:
        """As ``write``, of a status made elsewhere, and the events that go with it."""
        pod, uid = snapshot.pod, snapshot.key.uid
        if pod is None or snapshot.intent is None:
            return None
        patch = statuspatch.patch(pod, wanted, uid)
        if patch is None:
            self._unwritten.pop(uid, None)
            return None
        self._unwritten[uid] = wanted
        if (wait := self._settling(uid, pod.status, wanted)) is not None:
            return wait
        _BEFORE.hit()
        await self._cluster.patch_status(snapshot.key, patch)
        self._unwritten.pop(uid, None)
        _AFTER.hit()
        if pod.status.phase != "Running" == wanted.phase:
            self._observe_start((now - snapshot.intent.accepted_at).total_seconds())
        self._events.record(snapshot.key, events())
        return None

    def _settling(self, uid: str, before: PodStatus, wanted: PodStatus) -> float | None:
        """A VM that has just begun to run is mostly ready within moments: then one patch says both."""
        if (
            before.phase == "Running"
            or wanted.phase != "Running"
            or any(one.ready for one in wanted.container_statuses)
        ):
            self._starting.pop(uid, None)
            return None
        clock = asyncio.get_running_loop().time()
        left = self._starting.setdefault(uid, clock) + SETTLE - clock
        return left if left > 0 else None
