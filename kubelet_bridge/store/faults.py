"""What an SQLite error means for us: the change is at fault, the disk is, or the file is."""

import sqlite3
from enum import Enum, auto

from kubelet_bridge.errors import Terminal, Transient

UNAVAILABLE = "IntentStoreUnavailable"
_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
_FILE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip


class Fault(Enum):
    """Who is to blame."""

    CHANGE = auto()
    DISK = auto()
    FILE = auto()


class Damaged(Exception):
    """The file is no intact database of ours. Never leaves this package: the file is set aside and a new one begun."""


class Vanished(Damaged):
    """The file was removed or replaced under us: what we write to reaches nobody."""


def blame(error: sqlite3.Error) -> Fault:
    """Who is to blame for ``error`` (result codes: https://www.sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)  # absent when Python's module raised it, not the library
    if code is None:
        return Fault.CHANGE
    if code == _SHORT_READ or code & 0xFF in _FILE_CODES:
        return Fault.FILE
    return Fault.DISK if code & 0xFF in _DISK_CODES else Fault.CHANGE


def unavailable(cause: object) -> Transient:
    """The error for callers while the disk does not serve."""
    return Transient(f"the intent store is unavailable: {cause}", reason=UNAVAILABLE)


def refused(name: str, cause: object) -> Terminal:
    """The error for the one caller whose change SQLite will not have: a fault in this program."""
    return Terminal(f"the intent store refused {name!r}: {cause}", reason="IntentStoreRefused")
