"""The database as its own thread sees it: opened, written, begun anew when the file is lost under us. Synchronous."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.store.batch import Applied, Change, Parameters, apply
from kubelet_bridge.store.faults import Damaged, Vanished, unavailable
from kubelet_bridge.store.lock import StateLock
from kubelet_bridge.store.opening import CORRUPT, FILE_NAME, REPLACED, Opened, open_or_replace

log = structlog.get_logger(__name__)

Restore = Callable[[], Sequence[Change]]
"""What must be in the database of one store, from memory. Called on the database's thread."""


class Session:
    """One open file, or none while the disk refuses.

    Args:
        directory: the state directory.
        anew: set aside whatever is there, as ``REPLACED``.

    Attributes:
        path: the database file.
        fresh: it began empty when it was first opened.
        set_aside: where the last damaged file was moved to.
        restore: by store, what is written into a database that replaces one lost while running.
    """

    def __init__(self, directory: Path, *, anew: bool = False) -> None:
        self.path = directory / FILE_NAME
        self.fresh = False
        self.set_aside: Path | None = None
        self.restore: dict[str, Restore] = {}
        self._lock = StateLock(directory)
        self._condemned = REPLACED if anew else ""
        self._opened: Opened | None = None

    def open(self) -> sqlite3.Connection:
        """Lock the directory and open the file.

        Raises:
            Terminal: another process holds the directory, or a newer version wrote the file.
            Transient: the disk does not let us.
        """
        self._lock.acquire()
        try:
            opened = self._open(self._condemned)
        except BridgeError:
            self._lock.release()
            raise
        self.fresh = opened.fresh
        self._opened = opened
        return opened.connection

    def close(self) -> None:
        """Close the file and unlock the directory."""
        self._drop()
        self._lock.release()

    def read(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            Transient: the file cannot be read now.
        """
        if self._opened is None:
            raise unavailable("it is not open")
        try:
            return self._opened.connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def write(self, changes: Sequence[Change]) -> Applied:
        """Commit ``changes`` in one transaction; into a new file when the present one is broken or gone.

        Raises:
            BridgeError: nothing was committed.
        """
        condemned = ""
        if self._opened is not None:
            try:
                return apply(self._opened.connection, changes, path=self.path, expected=self._opened.identity)
            except Damaged as error:
                log.warning("the intent store was lost while running", cause=str(error))
                # A stranger in the file's place would be read together with the WAL that the lost one left behind.
                condemned = REPLACED if isinstance(error, Vanished) else CORRUPT
                self._drop()
        return self._write_anew(changes, condemned)

    def _write_anew(self, changes: Sequence[Change], condemned: str) -> Applied:
        self._lock.release()  # the lock file may have gone the same way
        self._lock.acquire()
        opened = self._open(condemned)
        restored = [change for restore in list(self.restore.values()) for change in restore()]
        try:
            applied = apply(opened.connection, [*restored, *changes], path=self.path, expected=opened.identity)
        except Damaged as error:
            opened.connection.close()
            raise unavailable(error) from error
        except BridgeError:
            opened.connection.close()
            raise
        self._opened = opened
        log.info("the intent store was begun anew", restored=len(restored))
        return Applied(applied.outcomes[len(restored) :], applied.seconds)

    def _open(self, condemned: str) -> Opened:
        opened = open_or_replace(self.path, condemned=condemned)
        if opened.set_aside is not None:
            self.set_aside = opened.set_aside
            log.warning("an intent store was set aside", file=str(opened.set_aside))
        return opened

    def _drop(self) -> None:
        if self._opened is not None:
            self._opened.connection.close()
            self._opened = None
