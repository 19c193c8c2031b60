"""The disks this node has promised: reads come from memory, writes return when they are on disk."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import msgspec
import structlog

from kubelet_bridge.model.intent import Transition
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.store import volumerows
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.records import convert, select
from kubelet_bridge.store.rows import timestamp

log = structlog.get_logger(__name__)

KEEP = timedelta(days=30)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8
_HISTORY = select(Transition, "volume_transitions", "WHERE uid = ? ORDER BY at, rowid")


class VolumeStore:
    """Live volume intents by claim uid. Satisfies ``reconcile.volumes.ports.VolumeIntentPort``.

    Attributes:
        unreadable: uids whose rows cannot be decoded; they are not shown, and a ``save`` replaces them.
    """

    def __init__(self, database: Database) -> None:
        self.unreadable: list[str] = []
        self._database = database
        self._live: dict[str, VolumeIntent] = {}
        self._pending: dict[str, VolumeIntent] = {}
        self._ids: set[str] = set()

    @classmethod
    async def load(cls, database: Database) -> Self:
        """Read every live row; from then on the database asks this store what belongs in it.

        Raises:
            Transient: the file cannot be read.
        """
        store = cls(database)
        store._live, store.unreadable = volumerows.decode_live(await database.read(volumerows.LIVE))
        store._ids = {found for (found,) in await database.read("SELECT id FROM volumes")}
        database.restore_from("volumes", store._everything)
        if store.unreadable:
            log.warning("rows of volumes cannot be read and are left out", uids=store.unreadable)
        return store

    def get(self, uid: str) -> VolumeIntent | None:
        """The live row of a claim uid."""
        return self._live.get(uid)

    def live(self) -> list[VolumeIntent]:
        """Every row that is not a tombstone."""
        return list(self._live.values())

    def new_id(self) -> str:
        """A readable id that no row has, tombstones included; it is taken when a row with it is saved."""
        while True:
            made = f"vol_{''.join(secrets.choice(_DIGITS) for _ in range(_ID_LENGTH))}"
            if made not in self._ids:
                return made

    async def save(self, intent: VolumeIntent, *, reason: str, now: datetime) -> None:
        """Return once ``intent`` is on disk; at once when nothing changed.

        Raises:
            Transient: the disk takes no writes (``IntentStoreUnavailable``); the former row stands.
            Terminal: SQLite refused it: a fault in this program.
        """
        before = self._pending.get(intent.uid, self._live.get(intent.uid))
        if intent == before and intent.uid not in self._pending:
            return
        self._pending[intent.uid] = intent
        change = volumerows.save(before, intent, reason=reason, now=now)
        await self._database.commit(change, settled=partial(self._settled, intent))

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        """Return once the tombstone is on disk. An unknown uid is no error.

        Raises:
            Transient: the disk takes no writes; the row lives on.
        """
        intent = self._pending.get(uid, self._live.get(uid))
        if intent is not None:
            await self.save(msgspec.structs.replace(intent, status=VolumeStatus.DESTROYED), reason=reason, now=now)

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
        """Forget tombstones and history older than ``KEEP``; return how many rows went.

        Nothing is written where nothing is that old: a node without disks has no batches for them.

        Raises:
            Transient: the disk takes no writes, or the file cannot be read.
        """
        if not await self._database.read(volumerows.OLD, (timestamp(now - KEEP),)):
            return 0
        return await self._database.commit(volumerows.prune(now - KEEP))

    async def history(self, uid: str) -> list[Transition]:
        """The status changes of a row, tombstones included, oldest first.

        Raises:
            Transient: the file cannot be read.
        """
        return convert(Transition, await self._database.read(_HISTORY, (uid,)))

    def _settled(self, intent: VolumeIntent, committed: bool) -> None:
        """Runs when the write of ``intent`` has ended, also when the one who asked for it was cancelled."""
        if self._pending.get(intent.uid) is intent:
            del self._pending[intent.uid]
        if not committed:
            return
        self._ids.add(intent.id)
        if intent.status is VolumeStatus.DESTROYED:
            self._live.pop(intent.uid, None)
        else:
            self._live[intent.uid] = intent

    def _everything(self) -> Sequence[Change]:
        """For a database begun anew. Runs on another thread: the copy is one operation, and rows never change."""
        now = datetime.now(UTC)
        return [volumerows.save(None, one, reason="Restored", now=now) for one in list(self._live.values())]
