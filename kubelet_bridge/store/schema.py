"""Numbered migrations, each applied in a transaction of its own together with its number (``PRAGMA user_version``)."""

import sqlite3
from collections.abc import Sequence
from importlib import resources

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import Terminal
from kubelet_bridge.store.faults import Damaged

_TABLES = frozenset(
    {"intents", "transitions", "restarts", "actions", "probe", "guests", "volumes", "volume_transitions"}
)
_BEFORE = failpoints.declare("store.migration.before")
_AFTER = failpoints.declare("store.migration.after")


def shipped() -> list[str]:
    """The SQL of every migration in order; the n-th leads from version n - 1 to n."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text() for file in files]


def version(connection: sqlite3.Connection) -> int:
    """The number of the last migration applied."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring the database up to date.

    Raises:
        Damaged: it says that it is up to date and lacks tables.
    """
    found = version(connection)
    for number, script in enumerate(migrations[found:], start=found + 1):
        _BEFORE.hit()
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        finally:
            if connection.in_transaction:
                connection.rollback()
        _AFTER.hit()
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := _TABLES - tables:
        raise Damaged(f"tables are missing: {', '.join(sorted(missing))}")


def check_not_newer(found: int, known: int) -> None:
    """Refuse a database from the future: it may hold promises that this version cannot read.

    Raises:
        Terminal: ``found`` is more than ``known``.
    """
    if found > known:
        message = f"the intent store has schema version {found} and this program knows {known}: run the newer version"
        raise Terminal(message, reason="IntentStoreTooNew")
