"""The database as the event loop sees it: callers await the next batch, and one task writes the batches."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog

from kubelet_bridge.aio import failpoints
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.store.batch import Applied, Change, Parameters
from kubelet_bridge.store.faults import unavailable
from kubelet_bridge.store.session import Restore, Session
from kubelet_bridge.store.worker import Worker

log = structlog.get_logger(__name__)

Observer = Callable[[str, float, int], None]
"""Told of each transaction: its changes' name (``group`` when they differ), seconds on the thread, rows changed."""
Settled = Callable[[bool], None]
"""Told on the event loop whether a change was committed, also when the one who asked has been cancelled."""

_ACKNOWLEDGED = failpoints.declare("store.batch.acknowledged")
_PROBE_BYTES = 16384
_FILL = "INSERT OR REPLACE INTO probe (slot, filler) VALUES (1, zeroblob(?))"
_PROBE = Change("probe", ((_FILL, (_PROBE_BYTES,)), ("DELETE FROM probe", ())))


class _Entry(NamedTuple):
    change: Change
    settled: Settled
    future: asyncio.Future[int]


class Database:
    """A state directory's database. Use as an async context manager, and keep ``run`` running inside it.

    Args:
        directory: the state directory; made if missing.
        observe: told of each transaction.
        anew: set aside whatever is there and begin with nothing.
        probe: how long to wait between tries while the disk takes no writes.

    Attributes:
        healthy: whether the last transaction was committed: the node condition ``IntentStoreHealthy``.
        problem: why not, for people.
    """

    def __init__(
        self, directory: Path, *, observe: Observer | None = None, anew: bool = False, probe: Backoff | None = None
    ) -> None:
        self.healthy = True
        self.problem = ""
        self._session = Session(directory, anew=anew)
        self._worker = Worker(self._session.open)
        self._observe = observe
        self._probe_delay = probe or Backoff(base=1.0, cap=15.0)
        self._queue: list[_Entry] = []
        self._wake = asyncio.Event()
        self._ended = False

    @property
    def path(self) -> Path:
        """The database file."""
        return self._session.path

    @property
    def fresh(self) -> bool:
        """Whether it began empty: nothing is known of earlier promises, which the cluster may still hold."""
        return self._session.fresh

    @property
    def set_aside(self) -> Path | None:
        """Where a damaged file was moved to; None when there was none."""
        return self._session.set_aside

    def restore_from(self, part: str, restore: Restore) -> None:
        """Take what must be in the file of one ``part`` from ``restore`` should the file be lost while running.

        It is called on another thread. Each store of the database has a part; a later one replaces its predecessor.
        """
        self._session.restore[part] = restore

    async def __aenter__(self) -> Self:
        """Open.

        Raises:
            Terminal: the directory is in use (``StateDirInUse``), or a newer version wrote it (``IntentStoreTooNew``).
            Transient: the disk does not let us (``IntentStoreUnavailable``).
        """
        await self._worker
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        await self._worker.submit(self._session.close)  # after the batch that may be under way
        await self._worker.close()

    async def read(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as of the last commit.

        Raises:
            Transient: the file cannot be read now.
        """
        return await self._worker.submit(partial(self._session.read, sql, parameters))

    async def commit(self, change: Change, *, settled: Settled = lambda _: None) -> int:
        """Wait until ``change`` is on disk; return how many rows it changed.

        A caller that is cancelled withdraws nothing: its change may be written all the same, and ``settled`` is told.

        Raises:
            Transient: the disk takes no writes (``IntentStoreUnavailable``).
            Terminal: SQLite refused this change (``IntentStoreRefused``); others of its batch are not touched.
        """
        if self._ended:
            raise unavailable("it is closed")
        entry = _Entry(change, settled, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._wake.set()
        return await entry.future

    async def run(self) -> None:
        """Write batches until cancelled; a batch under way is finished by its thread and its callers are told."""
        try:
            while True:
                await self._due()
                await asyncio.wait([self._write()])  # `wait`, because it does not cancel what it waits for
        finally:
            self._end()

    async def _due(self) -> None:
        """Wait for changes; while unhealthy only so long, and then see whether the disk is back."""
        if self.healthy:
            await self._wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._probe_delay.next()):
                await self._wake.wait()

    def _write(self) -> asyncio.Future[Applied]:
        entries, self._queue = self._queue, []
        self._wake.clear()
        changes = [entry.change for entry in entries] or [_PROBE]
        future = self._worker.submit(partial(self._session.write, changes))
        future.add_done_callback(partial(self._settle, entries, _common_name(changes)))
        return future

    def _settle(self, entries: list[_Entry], name: str, future: asyncio.Future[Applied]) -> None:
        failure = future.exception()
        self._note_health(failure)
        if failure is not None:
            for entry in entries:
                _tell(entry, failure)
            return
        applied = future.result()
        if self._observe is not None:
            self._observe(name, applied.seconds, applied.rows)
        for entry, outcome in zip(entries, applied.outcomes, strict=False):  # a probe has no entry
            _tell(entry, outcome)
        _ACKNOWLEDGED.hit()

    def _note_health(self, failure: BaseException | None) -> None:
        healthy = failure is None
        if healthy and not self.healthy:
            self._probe_delay.reset()
            log.info("the intent store takes writes again")
        elif not healthy and self.healthy:
            log.error("the intent store takes no writes", cause=str(failure))
        self.healthy, self.problem = healthy, str(failure or "")

    def _end(self) -> None:
        self._ended = True
        entries, self._queue = self._queue, []
        for entry in entries:
            _tell(entry, unavailable("it is closed"))


def _tell(entry: _Entry, outcome: int | BaseException) -> None:
    entry.settled(isinstance(outcome, int))
    if entry.future.done():  # its caller was cancelled
        return
    if isinstance(outcome, int):
        entry.future.set_result(outcome)
    else:
        entry.future.set_exception(outcome)


def _common_name(changes: list[Change]) -> str:
    names = {change.name for change in changes}
    return names.pop() if len(names) == 1 else "group"
