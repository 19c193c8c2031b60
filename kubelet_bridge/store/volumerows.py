"""Volume intents as rows: what a change of one means in SQL."""

from datetime import datetime

import msgspec

from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.store.batch import Change, Statement
from kubelet_bridge.store.rows import Row, timestamp

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(VolumeIntent)
_COLUMNS = (
    "uid", "id", "namespace", "name", "status", "datavolume", "backing_class", "source", "size", "lost", "accepted_at",
    "updated_at", "destroyed_at", "data",
)  # fmt: skip
_UPSERT = (
    f"INSERT INTO volumes ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"  # noqa: S608 - constants
    f" ON CONFLICT (uid) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS if name != 'uid')}"
)
_TRANSITION = "INSERT INTO volume_transitions (uid, at, from_status, to_status, reason) VALUES (?, ?, ?, ?, ?)"
LIVE = "SELECT uid, data FROM volumes WHERE destroyed_at IS NULL ORDER BY accepted_at, uid"
"""Rows for ``decode_live``."""


def save(before: VolumeIntent | None, after: VolumeIntent, *, reason: str, now: datetime) -> Change:
    """What turns the row of ``before`` (None: there is none) into ``after``, with its history."""
    at = timestamp(now)
    statements = [_upsert(after, at)]
    if before is None or before.status is not after.status:
        statements.append((_TRANSITION, (after.uid, at, before.status if before else "", after.status, reason)))
    return Change("volume.destroy" if after.status is VolumeStatus.DESTROYED else "volume.save", tuple(statements))


OLD = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM volumes WHERE destroyed_at < ?1)
    OR EXISTS (SELECT 1 FROM volume_transitions WHERE at < ?1)
"""
"""A row, when ``prune`` would find something; its parameter is the same time."""


def prune(before: datetime) -> Change:
    """Forget tombstones made before ``before``, and the history of the living before it."""
    cutoff = (timestamp(before),)
    return Change(
        "volume.prune",
        (
            ("DELETE FROM volumes WHERE destroyed_at < ?", cutoff),
            ("DELETE FROM volume_transitions WHERE at < ?", cutoff),
        ),
    )


def decode_live(rows: list[Row]) -> tuple[dict[str, VolumeIntent], list[str]]:
    """The rows by uid, and the uids whose data cannot be read."""
    found: dict[str, VolumeIntent] = {}
    unreadable: list[str] = []
    for uid, data in rows:
        try:
            found[uid] = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            unreadable.append(uid)
    return found, unreadable


def _upsert(intent: VolumeIntent, at: str) -> Statement:
    promise = intent.promise
    return _UPSERT, {
        "uid": intent.uid, "id": intent.id, "namespace": intent.namespace, "name": intent.name,
        "status": intent.status, "datavolume": intent.datavolume, "backing_class": promise.backing_class,
        "source": promise.source, "size": promise.size, "lost": intent.lost,
        "accepted_at": timestamp(intent.accepted_at), "updated_at": at,
        "destroyed_at": at if intent.status is VolumeStatus.DESTROYED else None,
        "data": _ENCODER.encode(intent).decode(),
    }  # fmt: skip
