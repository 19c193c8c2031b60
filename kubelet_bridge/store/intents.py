"""The intents this node has accepted: reads come from memory, writes return when they are on disk."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import msgspec
import structlog

from kubelet_bridge.model.intent import Intent, IntentStatus, Transition
from kubelet_bridge.store import rows
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.records import convert, select

log = structlog.get_logger(__name__)

KEEP = timedelta(days=30)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8
_HISTORY = select(Transition, "transitions", "WHERE uid = ? ORDER BY at, rowid")


class IntentStore:
    """Live intents by Pod uid. What it shows is on disk; what is being written shows once it is.

    Attributes:
        unreadable: uids whose rows cannot be decoded; they are not shown, and a ``save`` replaces them.
    """

    def __init__(self, database: Database) -> None:
        self.unreadable: list[str] = []
        self._database = database
        self._live: dict[str, Intent] = {}
        self._pending: dict[str, Intent] = {}
        self._ids: set[str] = set()
        self._machines: dict[str, set[str]] = {}

    @classmethod
    async def load(cls, database: Database) -> Self:
        """Read every live row; from then on the database asks this store what belongs in it.

        Raises:
            Transient: the file cannot be read.
        """
        store = cls(database)
        store._live, store.unreadable = rows.decode_live(await database.read(rows.LIVE))
        store._ids = {found for (found,) in await database.read("SELECT id FROM intents")}
        for one in store._live.values():
            store._index(one)
        database.restore_from("intents", store._everything)
        if store.unreadable:
            log.warning("intents cannot be read and are left out", uids=store.unreadable)
        return store

    def get(self, uid: str) -> Intent | None:
        """The live intent of a Pod uid."""
        return self._live.get(uid)

    def live(self) -> list[Intent]:
        """Every intent that is not destroyed."""
        return list(self._live.values())

    def machines(self, uid: str) -> list[Intent]:
        """The live rows of the machines of a Pod uid."""
        return [one for machine in self._machines.get(uid, ()) if (one := self._live.get(machine)) is not None]

    def new_id(self, prefix: str = "dpl") -> str:
        """A readable id that no row has, tombstones included; it is taken when an intent with it is saved."""
        while True:
            made = f"{prefix}_{''.join(secrets.choice(_DIGITS) for _ in range(_ID_LENGTH))}"
            if made not in self._ids:
                return made

    async def save(self, intent: Intent, *, reason: str, now: datetime) -> None:
        """Return once ``intent`` is on disk; at once when nothing changed.

        Raises:
            Transient: the disk takes no writes (``IntentStoreUnavailable``); the former intent stands.
            Terminal: SQLite refused it: a fault in this program.
        """
        before = self._pending.get(intent.uid, self._live.get(intent.uid))
        if intent == before and intent.uid not in self._pending:
            return
        self._pending[intent.uid] = intent
        change = rows.save(before, intent, reason=reason, now=now)
        await self._database.commit(change, settled=partial(self._settled, intent))

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        """Return once the tombstone is on disk. An unknown uid is no error.

        Raises:
            Transient: the disk takes no writes; the intent lives on.
        """
        intent = self._pending.get(uid, self._live.get(uid))
        if intent is not None:
            await self.save(msgspec.structs.replace(intent, status=IntentStatus.DESTROYED), reason=reason, now=now)

    async def adopt(self, found: Iterable[Intent], *, now: datetime) -> int:
        """Take over what ``rebuild`` found and this store does not know, all or nothing; return how many.

        Raises:
            Transient: the disk takes no writes.
        """
        new = [one for one in found if one.uid not in self._live]
        changes = [rows.save(None, one, reason="Rebuilt", now=now) for one in new]

        def settled(committed: bool) -> None:
            for one in new:
                self._settled(one, committed)

        if new:
            statements = tuple(statement for change in changes for statement in change.statements)
            await self._database.commit(Change("intent.adopt", statements), settled=settled)
        return len(new)

    async def prune(self, now: datetime) -> int:
        """Forget tombstones and history older than ``KEEP``; return how many rows went.

        Raises:
            Transient: the disk takes no writes.
        """
        return await self._database.commit(rows.prune(now - KEEP))

    async def history(self, uid: str) -> list[Transition]:
        """The status changes of an intent, destroyed ones included, oldest first.

        Raises:
            Transient: the file cannot be read.
        """
        return convert(Transition, await self._database.read(_HISTORY, (uid,)))

    def _settled(self, intent: Intent, committed: bool) -> None:
        """Runs when the write of ``intent`` has ended, also when the one who asked for it was cancelled."""
        if self._pending.get(intent.uid) is intent:
            del self._pending[intent.uid]
        if not committed:
            return
        self._ids.add(intent.id)
        if intent.status is IntentStatus.DESTROYED:
            self._live.pop(intent.uid, None)
        else:
            self._live[intent.uid] = intent
        self._index(intent)

    def _index(self, intent: Intent) -> None:
        """Keep the uids of a Pod's machines, by the Pod's."""
        if not intent.pod_uid:
            return
        uids = self._machines.setdefault(intent.pod_uid, set())
        if intent.uid in self._live:
            uids.add(intent.uid)
        else:
            uids.discard(intent.uid)
        if not uids:
            del self._machines[intent.pod_uid]

    def _everything(self) -> Sequence[Change]:
        """For a database begun anew. Runs on another thread: the copy is one operation, and intents never change."""
        now = datetime.now(UTC)
        return [rows.save(None, one, reason="Restored", now=now) for one in list(self._live.values())]
