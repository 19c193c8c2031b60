"""What is remembered of the guests: reads come from memory, writes return when they are on disk."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Self

import msgspec
import structlog

from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.store.batch import Change, Statement
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.rows import timestamp

log = structlog.get_logger(__name__)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(GuestRecord)
_COLUMNS = (
    "uid", "namespace", "name", "session_hash", "pending_hash", "used_boot", "agent_version", "os", "report_number",
    "seen_at", "updated_at", "data",
)  # fmt: skip
_UPSERT = (
    f"INSERT INTO guests ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"  # noqa: S608 - constants
    f" ON CONFLICT (uid) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS if name != 'uid')}"
)
_ALL = "SELECT uid, data FROM guests ORDER BY uid"


def _now() -> datetime:
    return datetime.now(UTC)


class GuestStore:
    """Records by Pod uid.

    Attributes:
        unreadable: uids whose rows cannot be decoded; they are not shown, and a ``save`` replaces them.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = _now) -> None:
        self.unreadable: list[str] = []
        self._database = database
        self._clock = clock
        self._live: dict[str, GuestRecord] = {}
        self._pending: dict[str, GuestRecord | None] = {}

    @classmethod
    async def load(cls, database: Database) -> Self:
        """Read every row; from then on the database asks this store what belongs in it.

        Raises:
            Transient: the file cannot be read.
        """
        store = cls(database)
        for uid, data in await database.read(_ALL):
            try:
                store._live[uid] = _DECODER.decode(data)
            except (msgspec.DecodeError, UnicodeError):
                store.unreadable.append(uid)
        database.restore_from("guests", store._everything)
        if store.unreadable:
            log.warning("rows of guests cannot be read and are left out", uids=store.unreadable)
        return store

    def get(self, uid: str) -> GuestRecord | None:
        """The record of a Pod uid, as it is on disk."""
        return self._live.get(uid)

    def latest(self, uid: str) -> GuestRecord | None:
        """The record that a further change has to start from: the one that is being written, if one is."""
        return self._pending[uid] if uid in self._pending else self._live.get(uid)

    def all(self) -> list[GuestRecord]:
        """Every record."""
        return list(self._live.values())

    async def save(self, record: GuestRecord) -> None:
        """Return once ``record`` is on disk; at once when nothing changed.

        Raises:
            Transient: the disk takes no writes (``IntentStoreUnavailable``); the former record stands.
            Terminal: SQLite refused it: a fault in this program.
        """
        if record.uid not in self._pending and self._live.get(record.uid) == record:
            return
        self._pending[record.uid] = record
        await self._commit(Change("guest.save", (_upsert(record, self._clock()),)), record.uid, record)

    async def delete(self, uid: str) -> None:
        """Return once nothing of ``uid`` is on disk. An unknown uid is no error, and costs no write.

        Raises:
            Transient: the disk takes no writes; the record lives on.
        """
        if self.latest(uid) is None and uid not in self.unreadable:
            return
        self._pending[uid] = None
        await self._commit(Change("guest.delete", (("DELETE FROM guests WHERE uid = ?", (uid,)),)), uid, None)

    async def _commit(self, change: Change, uid: str, record: GuestRecord | None) -> None:
        await self._database.commit(change, settled=partial(self._settled, uid, record))

    def _settled(self, uid: str, record: GuestRecord | None, committed: bool) -> None:
        """Runs when a write has ended, also when the one who asked for it was cancelled."""
        if self._pending.get(uid) is record:
            self._pending.pop(uid, None)
        if not committed:
            return
        if record is None:
            self._live.pop(uid, None)
            self.unreadable = [one for one in self.unreadable if one != uid]
        else:
            self._live[uid] = record

    def _everything(self) -> Sequence[Change]:
        """For a database begun anew. Runs on another thread: the copy is one operation, and records never change."""
        now = self._clock()
        return [Change("guest.save", (_upsert(one, now),)) for one in list(self._live.values())]


def _upsert(record: GuestRecord, now: datetime) -> Statement:
    return _UPSERT, {
        "uid": record.uid, "namespace": record.namespace, "name": record.name, "session_hash": record.session_hash,
        "pending_hash": record.pending_hash, "used_boot": record.used_boot,
        "agent_version": record.facts.agent_version, "os": record.facts.os_pretty_name,
        "report_number": None if record.report is None else record.report.number,
        "seen_at": timestamp(record.seen_at) if record.seen_at else None, "updated_at": timestamp(now),
        "data": _ENCODER.encode(record).decode(),
    }  # fmt: skip
