"""What is remembered of one guest, and how it changes: one change at a time, on disk before anybody hears of it."""

import asyncio
from collections.abc import Callable

from kubelet_bridge.aio import failpoints
from kubelet_bridge.guest.ports import Records
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.meta import PodKey

_COMMIT = failpoints.declare("guest.record.commit")
_COMMITTED = failpoints.declare("guest.record.committed")

Edit = Callable[[GuestRecord], GuestRecord]


class RecordKeeper:
    """The record of one Pod uid."""

    def __init__(self, key: PodKey, records: Records) -> None:
        self._key, self._records = key, records
        self._lock = asyncio.Lock()
        self._gone = False

    @property
    def current(self) -> GuestRecord | None:
        """As it is on disk."""
        return self._records.get(self._key.uid)

    async def edit(self, edit: Edit) -> GuestRecord:
        """Return what ``edit`` made of it once that is on disk. After ``remove`` nothing is written.

        Raises:
            Transient: the disk takes no writes.
        """
        async with self._lock:
            key = self._key
            before = self._records.latest(key.uid) or _first(key)
            after = edit(before)
            if not self._gone:
                _COMMIT.hit()
                await self._records.save(after)
                _COMMITTED.hit()
            return after

    async def remove(self) -> None:
        """Return once it is gone, for good.

        Raises:
            Transient: the disk takes no writes.
        """
        self._gone = True
        async with self._lock:
            await self._records.delete(self._key.uid)


def _first(key: PodKey) -> GuestRecord:
    return GuestRecord(
        uid=key.uid, namespace=key.namespace, name=key.name, container=key.container, pod_uid=key.pod_uid
    )
