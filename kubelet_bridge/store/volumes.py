"""The disks this node has promised: reads come from memory, writes return when they are on disk."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.store import volumerows
from kubelet_bridge.store.ledger import KEEP, Ledger, Table
from kubelet_bridge.store.rows import timestamp

__all__ = ["KEEP", "VolumeStore"]


def _destroyed(intent: VolumeIntent) -> VolumeIntent:
    return msgspec.structs.replace(intent, status=VolumeStatus.DESTROYED)


class VolumeStore(Ledger[VolumeIntent]):
    """Live volume intents by claim uid. Satisfies ``reconcile.volumes.ports.VolumeIntentPort``."""

    TABLE = Table(
        "volumes",
        "volume_transitions",
        volumerows.LIVE,
        volumerows.decode_live,
        volumerows.save,
        volumerows.prune,
        _destroyed,
        "vol",
    )

    async def adopt(self, found: Iterable[VolumeIntent], *, now: datetime) -> int:
        """Take over what ``rebuild`` found and this store does not know; return how many.

        Raises:
            Transient: the disk takes no writes; what was taken over before stays.
        """
        new = [one for one in found if one.uid not in self._live]
        for one in new:
            own = one if one.id not in self._ids else msgspec.structs.replace(one, id=self.new_id())
            await self.save(own, reason="Rebuilt", now=now)
        return len(new)

    async def prune(self, now: datetime) -> int:
        """Nothing is written where nothing is that old: a node without disks has no batches for them.

        Raises:
            Transient: the disk takes no writes, or the file cannot be read.
        """
        if not await self._database.read(volumerows.OLD, (timestamp(now - KEEP),)):
            return 0
        return await super().prune(now)
