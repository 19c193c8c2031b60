"""Changes, and one transaction for many of them. Synchronous: it runs on the database's own thread."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import Terminal
from kubelet_bridge.store.faults import Damaged, Fault, Vanished, blame, refused, unavailable
from kubelet_bridge.store.opening import identity

Parameters = Sequence[str | bytes | int | float | None] | dict[str, str | bytes | int | float | None]
Statement = tuple[str, Parameters]
Outcome = int | Terminal
"""Rows changed, or why the change was refused."""

_BEGIN = failpoints.declare("store.batch.begin")
_WRITTEN = failpoints.declare("store.batch.written")
_COMMITTED = failpoints.declare("store.batch.committed")


class Change(msgspec.Struct, frozen=True):
    """Statements that take effect together or not at all; ``name`` labels the metric."""

    name: str
    statements: tuple[Statement, ...]


class Applied(msgspec.Struct, frozen=True):
    """A committed transaction: one outcome per change, in order, and how long it took."""

    outcomes: list[Outcome]
    seconds: float

    @property
    def rows(self) -> int:
        """Rows changed by the whole transaction."""
        return sum(one for one in self.outcomes if isinstance(one, int))


def apply(
    connection: sqlite3.Connection, changes: Sequence[Change], *, path: Path, expected: tuple[int, int]
) -> Applied:
    """Commit ``changes`` in one transaction, each in a savepoint of its own: one that is refused stops no other.

    (A savepoint costs about 1.5 µs; running the batch again without the bad one would cost another code path.)

    Raises:
        Transient: nothing was committed: the disk does not take it.
        Damaged: nothing was committed: the file is broken, or (``Vanished``) is not the ``expected`` one any more.
    """
    start = time.perf_counter()
    try:
        _BEGIN.hit()
        if identity(path) != expected:
            raise Vanished(f"{path.name} was removed or replaced")
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_apply_one(connection, change) for change in changes]
        _WRITTEN.hit()
        connection.execute("COMMIT")
        _COMMITTED.hit()
    except sqlite3.Error as error:
        raise Damaged(str(error)) if blame(error) is Fault.FILE else unavailable(error) from error
    except OSError as error:
        raise unavailable(error) from error
    finally:
        _roll_back(connection)
    return Applied(outcomes, time.perf_counter() - start)


def _apply_one(connection: sqlite3.Connection, change: Change) -> Outcome:
    before = connection.total_changes
    connection.execute("SAVEPOINT change")
    try:
        for sql, parameters in change.statements:
            connection.execute(sql, parameters)
    except (sqlite3.Error, OverflowError, UnicodeError) as error:  # the latter: an int or a str that SQLite cannot hold
        if isinstance(error, sqlite3.Error) and (blame(error) is not Fault.CHANGE or not connection.in_transaction):
            raise
        connection.execute("ROLLBACK TO change")
        connection.execute("RELEASE change")
        return refused(change.name, error)
    connection.execute("RELEASE change")
    return connection.total_changes - before


def _roll_back(connection: sqlite3.Connection) -> None:
    """After an error nothing may stay open: the next batch would find itself inside this one's transaction."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise Damaged(f"rollback: {error}") from error
