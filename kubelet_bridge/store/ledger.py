"""Promises of one kind: reads come from memory, writes return when they are on disk."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec
import structlog

from kubelet_bridge.model.intent import Transition
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.records import convert, select

log = structlog.get_logger(__name__)

KEEP = timedelta(days=30)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8


class Kept(Protocol):
    """A promise as a row."""

    @property
    def uid(self) -> str:
        """Of the object that it was made to."""

    @property
    def id(self) -> str:
        """What people read."""

    @property
    def destroyed(self) -> bool:
        """Whether it is a tombstone."""


P = TypeVar("P", bound=Kept)
_P = TypeVar("_P", bound=Kept, contravariant=True)


class Save(Protocol[_P]):
    """Takes the row as it was (None: there is none) and as it is to be."""

    def __call__(self, before: _P | None, after: _P, *, reason: str, now: datetime) -> Change:
        """What turns the one into the other, with its history."""


class Table(msgspec.Struct, Generic[P], frozen=True):
    """How rows of one kind are kept.

    Attributes:
        name: of the table.
        transitions: the table of their history.
        live: the query for every row that is not a tombstone; ``decode`` reads what it finds.
        save, prune: the changes.
        tombstone: a row as it is when its promise is over.
        prefix: of ids.
    """

    name: str
    transitions: str
    live: str
    decode: Callable[[list[Any]], tuple[dict[str, P], list[str]]]
    save: Save[P]
    prune: Callable[[datetime], Change]
    tombstone: Callable[[P], P]
    prefix: str


class Ledger(Generic[P]):
    """Live rows by uid. What it shows is on disk; what is being written shows once it is.

    Attributes:
        unreadable: uids whose rows cannot be decoded; they are not shown, and a ``save`` replaces them.
    """

    TABLE: Table[P]

    def __init__(self, database: Database) -> None:
        self.unreadable: list[str] = []
        self._database = database
        self._live: dict[str, P] = {}
        self._pending: dict[str, P] = {}
        self._ids: set[str] = set()

    @classmethod
    async def load(cls, database: Database) -> Self:
        """Read every live row; from then on the database asks this store what belongs in it.

        Raises:
            Transient: the file cannot be read.
        """
        table, store = cls.TABLE, cls(database)
        store._live, store.unreadable = table.decode(await database.read(table.live))
        store._ids = {found for (found,) in await database.read(f"SELECT id FROM {table.name}")}  # noqa: S608 - ours
        for one in store._live.values():
            store._changed(one)
        database.restore_from(table.name, store._everything)
        if store.unreadable:
            log.warning("rows cannot be read and are left out", table=table.name, uids=store.unreadable)
        return store

    def get(self, uid: str) -> P | None:
        """The live row of a uid."""
        return self._live.get(uid)

    def live(self) -> list[P]:
        """Every row that is not a tombstone."""
        return list(self._live.values())

    def new_id(self, prefix: str = "") -> str:
        """A readable id that no row has, tombstones included; it is taken when a row with it is saved."""
        while True:
            tail = "".join(secrets.choice(_DIGITS) for _ in range(_ID_LENGTH))
            made = f"{prefix or self.TABLE.prefix}_{tail}"
            if made not in self._ids:
                return made

    async def save(self, intent: P, *, reason: str, now: datetime) -> None:
        """Return once ``intent`` is on disk; at once when nothing changed.

        Raises:
            Transient: the disk takes no writes (``IntentStoreUnavailable``); the former row stands.
            Terminal: SQLite refused it: a fault in this program.
        """
        before = self._pending.get(intent.uid, self._live.get(intent.uid))
        if intent == before and intent.uid not in self._pending:
            return
        self._pending[intent.uid] = intent
        change = self.TABLE.save(before, intent, reason=reason, now=now)
        await self._database.commit(change, settled=partial(self._settled, intent))

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        """Return once the tombstone is on disk. An unknown uid is no error.

        Raises:
            Transient: the disk takes no writes; the row lives on.
        """
        intent = self._pending.get(uid, self._live.get(uid))
        if intent is not None:
            await self.save(self.TABLE.tombstone(intent), reason=reason, now=now)

    async def prune(self, now: datetime) -> int:
        """Forget tombstones and history older than ``KEEP``; return how many rows went.

        Raises:
            Transient: the disk takes no writes.
        """
        return await self._database.commit(self.TABLE.prune(now - KEEP))

    async def history(self, uid: str) -> list[Transition]:
        """The status changes of a row, tombstones included, oldest first.

        Raises:
            Transient: the file cannot be read.
        """
        query = select(Transition, self.TABLE.transitions, "WHERE uid = ? ORDER BY at, rowid")
        return convert(Transition, await self._database.read(query, (uid,)))

    def _settled(self, intent: P, committed: bool) -> None:
        """Runs when the write of ``intent`` has ended, also when the one who asked for it was cancelled."""
        if self._pending.get(intent.uid) is intent:
            del self._pending[intent.uid]
        if not committed:
            return
        self._ids.add(intent.id)
        if intent.destroyed:
            self._live.pop(intent.uid, None)
        else:
            self._live[intent.uid] = intent
        self._changed(intent)

    def _changed(self, intent: P) -> None:
        """For what is derived of the rows: ``intent`` is live, or no longer."""

    def _everything(self) -> Sequence[Change]:
        """For a database begun anew. Runs on another thread: the copy is one operation, and rows never change."""
        now = datetime.now(UTC)
        return [self.TABLE.save(None, one, reason="Restored", now=now) for one in list(self._live.values())]
