"""Intents as rows: what a change of an intent means in SQL."""

from datetime import UTC, datetime

import msgspec

from kubelet_bridge.model.intent import Intent, IntentStatus, Termination
from kubelet_bridge.store.batch import Change, Statement

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Intent)

_COLUMNS = (
    "uid", "id", "namespace", "name", "status", "vm_name", "vm_uid", "vmi_uid", "restart_count", "cpu", "memory",
    "disk", "outcome", "outcome_reason", "accepted_at", "updated_at", "destroyed_at", "data",
)  # fmt: skip
_UPSERT = (
    f"INSERT INTO intents ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"  # noqa: S608 - constants
    f" ON CONFLICT (uid) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS if name != 'uid')}"
)
_TRANSITION = "INSERT INTO transitions (uid, at, from_status, to_status, reason) VALUES (?, ?, ?, ?, ?)"
_BOOT = """
INSERT INTO restarts (uid, vmi_uid, started_at) VALUES (:uid, :vmi_uid, :started_at)
ON CONFLICT (uid, vmi_uid) DO UPDATE SET started_at = COALESCE(started_at, excluded.started_at)
"""
_BOOT_ENDED = """
INSERT INTO restarts (uid, vmi_uid, started_at, finished_at, exit_code, reason)
VALUES (:uid, :vmi_uid, :started_at, :finished_at, :exit_code, :reason)
ON CONFLICT (uid, vmi_uid) DO UPDATE SET
    started_at = COALESCE(excluded.started_at, started_at), finished_at = excluded.finished_at,
    exit_code = excluded.exit_code, reason = excluded.reason
"""
_DROP_ACTIONS = "UPDATE actions SET state = 'dropped', finished_at = ? WHERE uid = ? AND state = 'pending'"


def timestamp(at: datetime) -> str:
    """UTC with milliseconds, always of one width: it compares as text."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def decode(data: str) -> Intent:
    """The intent in a ``data`` column; fields that a newer version wrote are skipped.

    Raises:
        msgspec.DecodeError: it is no intent.
    """
    return _DECODER.decode(data)


def save(before: Intent | None, after: Intent, *, reason: str, now: datetime) -> Change:
    """What turns the row of ``before`` (None: there is none) into ``after``, with what is to be remembered of it."""
    at = timestamp(now)
    statements = [_upsert(after, at)]
    if before is None or before.status is not after.status:
        statements.append((_TRANSITION, (after.uid, at, before.status if before else "", after.status, reason)))
    statements += _boots(before, after, at)
    if after.status is IntentStatus.DESTROYED:
        statements.append((_DROP_ACTIONS, (at, after.uid)))
    return Change("intent.destroy" if after.status is IntentStatus.DESTROYED else "intent.save", tuple(statements))


def _upsert(intent: Intent, at: str) -> Statement:
    return _UPSERT, {
        "uid": intent.uid, "id": intent.id, "namespace": intent.namespace, "name": intent.name, "status": intent.status,
        "vm_name": intent.vm_name, "vm_uid": intent.vm_uid, "vmi_uid": intent.vmi_uid,
        "restart_count": intent.restart_count, "cpu": intent.allocation.cpu, "memory": intent.allocation.memory,
        "disk": intent.allocation.disk, "outcome": intent.outcome, "outcome_reason": intent.outcome_reason,
        "accepted_at": timestamp(intent.accepted_at), "updated_at": at,
        "destroyed_at": at if intent.status is IntentStatus.DESTROYED else None,
        "data": _ENCODER.encode(intent).decode(),
    }  # fmt: skip


def _boots(before: Intent | None, after: Intent, at: str) -> list[Statement]:
    statements: list[Statement] = []
    boot = (after.vmi_uid, after.vmi_started)
    if after.vmi_uid and (before is None or boot != (before.vmi_uid, before.vmi_started)):
        started_at = at if after.vmi_started and before is not None else None  # a row made again: nobody knows
        statements.append((_BOOT, {"uid": after.uid, "vmi_uid": after.vmi_uid, "started_at": started_at}))
    known = (before.termination, before.last_termination) if before else ()
    endings = (one for one in (after.last_termination, after.termination) if one is not None and one not in known)
    statements += [(_BOOT_ENDED, _ended(after.uid, one)) for one in endings if one.vmi_uid]
    return statements


def _ended(uid: str, boot: Termination) -> dict[str, str | bytes | int | float | None]:
    return {
        "uid": uid, "vmi_uid": boot.vmi_uid, "exit_code": boot.exit_code, "reason": boot.reason,
        "started_at": timestamp(boot.started_at) if boot.started_at else None,
        "finished_at": timestamp(boot.finished_at) if boot.finished_at else None,
    }  # fmt: skip


def prune(before: datetime) -> Change:
    """Forget tombstones made before ``before``, and what the living went through before it.

    Actions of the living stay however old: the annotation that asked may still be there, and must not be obeyed twice.
    """
    cutoff = (timestamp(before),)
    return Change(
        "intent.prune",
        (
            ("DELETE FROM intents WHERE destroyed_at < ?", cutoff),
            ("DELETE FROM transitions WHERE at < ?", cutoff),
            ("DELETE FROM restarts WHERE finished_at < ?", cutoff),
        ),
    )


Row = tuple[str, str]
LIVE = "SELECT uid, data FROM intents WHERE destroyed_at IS NULL ORDER BY accepted_at, uid"
"""Rows for ``decode_live``."""


def decode_live(rows: list[Row]) -> tuple[dict[str, Intent], list[str]]:
    """The intents by uid, and the uids whose data cannot be read."""
    found: dict[str, Intent] = {}
    unreadable: list[str] = []
    for uid, data in rows:
        try:
            found[uid] = decode(data)
        except (msgspec.DecodeError, UnicodeError):
            unreadable.append(uid)
    return found, unreadable
