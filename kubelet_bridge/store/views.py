"""The database read from another process, beside a running daemon or without one. It changes nothing, takes no lock."""

import difflib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.intent import Transition
from kubelet_bridge.store import schema
from kubelet_bridge.store.actions import Action
from kubelet_bridge.store.opening import FILE_NAME
from kubelet_bridge.store.records import convert, select

_COMPARED = 3000  # words; with more it would take too long to find the nearest
_OF_UID = "WHERE uid = ?"
_FOUND = """
WHERE id = :wanted OR uid = :wanted OR namespace || '/' || name = :wanted
ORDER BY destroyed_at IS NOT NULL, COALESCE(json_extract(data, '$.pod_uid'), '') <> '', accepted_at DESC LIMIT 1
"""
_PAGE = """
WHERE (:destroyed OR destroyed_at IS NULL) AND :namespace IN ('', namespace) AND :name IN ('', name)
AND (namespace, name, accepted_at, uid) > (:after_namespace, :after_name, :after_accepted_at, :after_uid)
ORDER BY namespace, name, accepted_at, uid LIMIT :limit
"""


class Summary(msgspec.Struct, frozen=True):
    """One intent: the readable columns. ``cpu`` in vCPUs, ``memory`` and ``disk`` in bytes."""

    id: str
    uid: str
    namespace: str
    name: str
    status: str
    vm_name: str
    vm_uid: str
    vmi_uid: str
    restart_count: int
    cpu: int
    memory: int
    disk: int
    outcome: str
    outcome_reason: str
    accepted_at: datetime
    updated_at: datetime
    destroyed_at: datetime | None


class Row(msgspec.Struct, frozen=True):
    """One row as it is stored: ``data`` is the intent's JSON. Times are text that sorts."""

    uid: str
    namespace: str
    name: str
    accepted_at: str
    updated_at: datetime
    destroyed_at: datetime | None
    data: str


class Boot(msgspec.Struct, frozen=True):
    """One boot of the VM; no ``exit_code`` while it has not ended."""

    vmi_uid: str
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    reason: str


class Detail(msgspec.Struct, frozen=True):
    """One intent and all that is remembered of it; ``intent`` is the row's own JSON."""

    summary: Summary
    intent: msgspec.Raw
    history: list[Transition]
    restarts: list[Boot]
    actions: list[Action]


def list_intents(directory: Path, *, destroyed: bool = False) -> list[Summary]:
    """The live intents of a state directory, by namespace and name, and the ``destroyed`` ones if asked for.

    Raises:
        Terminal: there is no database, or it cannot be read.
    """
    clause = "" if destroyed else "WHERE destroyed_at IS NULL "
    with reading(directory) as connection:
        rows = connection.execute(select(Summary, "intents", f"{clause}ORDER BY namespace, name, accepted_at"))
        return convert(Summary, rows)


def page(
    directory: Path, *, namespace: str = "", name: str = "", destroyed: bool = False, limit: int,
    after: tuple[str, str, str, str] = ("", "", "", ""),
) -> list[Row]:  # fmt: skip
    """At most ``limit`` rows that come after the position ``after`` (namespace, name, accepted_at, uid of a row).

    Raises:
        Terminal: there is no database, or it cannot be read.
    """
    columns = ("namespace", "name", "accepted_at", "uid")
    parameters = {
        "namespace": namespace, "name": name, "destroyed": destroyed, "limit": limit,
        **{f"after_{column}": value for column, value in zip(columns, after, strict=True)},
    }  # fmt: skip
    with reading(directory) as connection:
        return convert(Row, connection.execute(select(Row, "intents", _PAGE), parameters))


def show(directory: Path, wanted: str) -> Detail:
    """The intent whose id, Pod uid or ``namespace/name`` is ``wanted``.

    Of one name the living comes first, then the Pod's own before those of its machines, then the youngest.

    Raises:
        Terminal: there is none (the message names the nearest), there is no database, or it cannot be read.
    """
    with reading(directory) as connection:
        found = convert(Summary, connection.execute(select(Summary, "intents", _FOUND), {"wanted": wanted}))
        if not found:
            raise Terminal(_unknown(connection, wanted), reason="UnknownIntent")
        key = (found[0].uid,)
        (data,) = connection.execute("SELECT data FROM intents WHERE uid = ?", key).fetchone()
        return Detail(
            summary=found[0],
            intent=msgspec.Raw(data),
            history=convert(
                Transition, connection.execute(select(Transition, "transitions", f"{_OF_UID} ORDER BY at, rowid"), key)
            ),
            restarts=convert(Boot, connection.execute(select(Boot, "restarts", f"{_OF_UID} ORDER BY rowid"), key)),
            actions=convert(Action, connection.execute(select(Action, "actions", f"{_OF_UID} ORDER BY rowid"), key)),
        )


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """The database of a state directory; all queries within it see one state.

    Raises:
        Terminal: there is none, or it cannot be read.
    """
    path = directory / FILE_NAME
    if not path.exists():
        raise Terminal(f"no intent store in {directory}", reason="NoIntentStore")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            schema.check_not_newer(schema.version(connection), len(schema.shipped()))
            connection.execute("BEGIN")
            yield connection
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise Terminal(f"the intent store {path} cannot be read: {error}", reason="UnreadableIntentStore") from error


def _unknown(connection: sqlite3.Connection, wanted: str) -> str:
    known = {
        word for row in connection.execute("SELECT id, uid, namespace || '/' || name FROM intents") for word in row
    }
    nearest = difflib.get_close_matches(wanted, known, n=1) if len(known) <= _COMPARED else []
    return f"no intent {wanted!r}" + (f"; the nearest is {nearest[0]!r}" if nearest else "")
