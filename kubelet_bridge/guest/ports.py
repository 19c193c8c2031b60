"""What this package needs of the world, as Protocols. ``daemon`` plugs the adapters in."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.usage import Sample

ManifestSource = Callable[[PodKey], Awaitable[pb.PodManifest | None]]
"""Makes a Pod's manifest as of now; None when there is nothing to send. Raises ``BridgeError``."""

RecordEvent = Callable[[PodKey, PodEvent], None]
"""Posts an event on a Pod. Never blocks, never fails."""

RecordUsage = Callable[[PodKey, Sample], None]
"""Takes in what a guest has used. Quick, never fails."""

Enqueue = Callable[[PodKey], None]
"""Something about this Pod may have changed."""


class Records(Protocol):
    """The store. Every coroutine raises ``errors.Transient`` while the disk does not take writes."""

    def get(self, uid: str) -> GuestRecord | None:
        """The record of a Pod uid, as it is on disk."""

    def latest(self, uid: str) -> GuestRecord | None:
        """The record that a further change has to start from."""

    def all(self) -> list[GuestRecord]:
        """Every record."""

    async def save(self, record: GuestRecord) -> None:
        """Return once it is on disk."""

    async def delete(self, uid: str) -> None:
        """Return once it is gone."""


class Counters(Protocol):
    """What is measured."""

    def handshake(self, result: str) -> None:
        """An agent introduced itself; ``result`` is ``welcome`` or why not."""

    def refused(self, reason: str) -> None:
        """Something was not taken: a connection, an event, a stream's data."""

    def log_bytes(self, count: int) -> None:
        """So much of logs was written."""


class Uncounted:
    """Counts nothing."""

    def handshake(self, result: str) -> None:
        """Nothing."""

    def refused(self, reason: str) -> None:
        """Nothing."""

    def log_bytes(self, count: int) -> None:
        """Nothing."""
