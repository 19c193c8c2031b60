"""Keeps one connected guest's manifest up to date: made again when asked to and every minute, sent when it differs."""

import asyncio
import random

import structlog

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import BridgeError, Transient
from kubelet_bridge.guest.outbox import Outbox
from kubelet_bridge.guest.ports import ManifestSource
from kubelet_bridge.model.meta import PodKey

log = structlog.get_logger(__name__)

AGAIN = 60.0
"""A kubelet looks for changed ConfigMaps and Secrets as often (``--sync-frequency``)."""
_DEBOUNCE = 0.2


class ManifestSender:
    """One per connection."""

    def __init__(self, key: PodKey, make: ManifestSource, outbox: Outbox) -> None:
        self._key, self._make, self._outbox = key, make, outbox
        self._sent: tuple[str, str] | None = None
        self._due = asyncio.Event()
        self._due.set()

    def refresh(self) -> None:
        """It may have changed."""
        self._due.set()

    async def run(self) -> None:
        """Make and send for ever; what fails is tried again."""
        backoff = Backoff(base=0.5, cap=30.0)
        while True:
            await self._wait(AGAIN * (0.9 + random.random() / 5))  # noqa: S311 - spreading, not secrecy
            self._due.clear()
            try:
                manifest = await self._make(self._key)
            except BridgeError as error:
                delay = backoff.next() if isinstance(error, Transient) else AGAIN
                log.warning("the guest's manifest cannot be made", reason=error.reason, error=str(error))
                await self._wait(delay)
                self._due.set()
                continue
            backoff.reset()
            if manifest is not None:
                self._send(manifest)
            await asyncio.sleep(_DEBOUNCE)

    def _send(self, manifest: pb.PodManifest) -> None:
        revisions = (manifest.revision, manifest.files_revision)
        if revisions != self._sent:
            self._sent = revisions
            self._outbox.post(pb.BridgeMessage(manifest=manifest), key="manifest")

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            pass
