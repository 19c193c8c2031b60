"""From a path to a usable connection, whatever is on the disk. Synchronous: it runs on the database's own thread."""

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import Terminal
from kubelet_bridge.store import schema
from kubelet_bridge.store.faults import Damaged, Fault, blame, unavailable
from kubelet_bridge.store.wal import HEAD_BYTES, is_readable

FILE_NAME = "intents.db"
CORRUPT = "corrupt"
REPLACED = "replaced"
_SUFFIXES = ("", "-wal", "-shm", "-journal")
_BUSY_SECONDS = 5.0
_WAL_LIMIT_BYTES = 16 * 1024 * 1024
_SMALLEST_PAGE = 512
_SET_ASIDE = failpoints.declare("store.set-aside")


class Opened(NamedTuple):
    """A connection and what it took to get it.

    Attributes:
        fresh: the database began empty: there is nothing in it that was promised before.
        set_aside: where a damaged predecessor was moved to.
    """

    connection: sqlite3.Connection
    identity: tuple[int, int]
    fresh: bool
    set_aside: Path | None


def open_or_replace(path: Path, *, condemned: str = "") -> Opened:
    """Open the database, made if missing; one that is damaged, or ``condemned`` (as what), is set aside first.

    Raises:
        Terminal: it belongs to a newer version of this program.
        Transient: the disk does not let us.
    """
    aside: Path | None = None
    try:
        if _orphaned_wal(path) or (condemned and path.exists()):
            aside = set_aside(path, why=condemned or CORRUPT)
        try:
            return _open(path, aside)
        except Damaged:
            aside = set_aside(path)
            return _open(path, aside)
    except (Damaged, OSError, sqlite3.Error) as error:
        raise unavailable(error) from error


def set_aside(path: Path, *, why: str = CORRUPT) -> Path:
    """Rename the database and its companions to ``<name>.<why>-<time>``, a name not in use, and return that name."""
    stem = f"{path.name}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    target, number = path.with_name(stem), 1
    while any(_companion(target, suffix).exists() for suffix in _SUFFIXES):
        number += 1
        target = path.with_name(f"{stem}-{number}")
    for suffix in _SUFFIXES:  # the file first: after a crash here the next start can tell a lone WAL, not a lone file
        with contextlib.suppress(FileNotFoundError):
            _companion(path, suffix).rename(_companion(target, suffix))
            _SET_ASIDE.hit()
    return target


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at ``path`` now: device and inode; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _orphaned_wal(path: Path) -> bool:
    """A WAL beside no database holds commits, and SQLite would delete it."""
    wal = _companion(path, "-wal")
    empty = not path.exists() or path.stat().st_size == 0
    return empty and wal.exists() and wal.stat().st_size > 0


def _open(path: Path, aside: Path | None) -> Opened:
    _check_heads(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives -wal and -shm the same mode
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        fresh = _prepare(connection)
        found = identity(path)
    except sqlite3.Error as error:
        connection.close()
        if blame(error) is Fault.DISK:
            raise
        raise Damaged(str(error)) from error
    except (Damaged, OSError, Terminal):
        connection.close()
        raise
    if found is None:
        connection.close()
        raise FileNotFoundError(f"{path} was removed while it was opened")
    return Opened(connection, found, fresh, aside)


def _prepare(connection: sqlite3.Connection) -> bool:
    """Set up the connection, check the file, bring the schema up to date; tell whether it began empty."""
    migrations = schema.shipped()
    found = schema.version(connection)
    schema.check_not_newer(found, len(migrations))
    for pragma in (
        "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"journal_size_limit = {_WAL_LIMIT_BYTES}",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}").fetchall()
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Damaged(f"quick_check: {verdict}")
    schema.migrate(connection, migrations)
    return found == 0


def _check_heads(path: Path) -> None:
    """What SQLite would take for an empty database or an empty log, and overwrite, though there is something in it."""
    if path.exists() and 0 < path.stat().st_size < _SMALLEST_PAGE:
        raise Damaged("it is shorter than a page")
    wal = _companion(path, "-wal")
    if wal.exists():
        with wal.open("rb") as file:
            if not is_readable(file.read(HEAD_BYTES)):
                raise Damaged("the write-ahead log has no readable head")
