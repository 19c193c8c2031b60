"""Keeps the guests' side informed: whose agent may come, and when what it was told may have changed."""

import msgspec

from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.ports import GuestPort
from kubelet_bridge.translate.launcher import addresses


class _Told(msgspec.Struct, frozen=True):
    """What a manifest was last made from, as far as a snapshot shows it."""

    boot: str
    generation: int
    metadata: tuple[tuple[tuple[str, str], ...], ...]
    addresses: tuple[str, ...]


class Attendance:
    """One per sync loop. What it remembers is only what was said already; saying it again does no harm."""

    def __init__(self, guests: GuestPort) -> None:
        self._guests = guests
        self._told: dict[str, _Told] = {}

    def guest(self, uid: str) -> Guest | None:
        """What is known of the guest of a Pod uid."""
        return self._guests.get(uid)

    def attend(self, snapshot: Snapshot) -> None:
        """Tell of the boot that the intent counts; ask for another manifest when something of it may be different."""
        pod, intent = snapshot.pod, snapshot.intent
        if pod is None or intent is None or intent.outcome or (snapshot.vm is None and snapshot.vmi is None):
            return
        boot = intent.vmi_uid if snapshot.vmi is not None and snapshot.vmi.metadata.uid == intent.vmi_uid else ""
        self._guests.expect(snapshot.key, boot=boot)
        if not boot or pod.metadata.deletion_timestamp is not None:
            return
        wanted = _Told(
            boot=boot,
            generation=pod.metadata.generation,
            metadata=tuple(tuple(sorted(one.items())) for one in (pod.metadata.labels, pod.metadata.annotations)),
            addresses=tuple(one.ip for one in addresses(snapshot.active_launcher)),
        )
        if self._told.get(snapshot.key.uid) != wanted:
            self._told[snapshot.key.uid] = wanted
            self._guests.refresh(snapshot.key)

    def forget(self, uid: str) -> None:
        """The Pod is gone."""
        self._told.pop(uid, None)
