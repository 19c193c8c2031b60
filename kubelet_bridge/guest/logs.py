"""Container logs on the bridge's disk: ``<state_dir>/logs/<pod uid>/<container>/<attempt>.log`` (see ``logfile``).

Written by one thread, a batch of one guest at a time. A guest has at most one batch in the queue, so that a flood of
one delays the others by one batch at the most. What was appended can be read at once; what ``kept`` has returned for
is on the disk, and outlives a crash of the machine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from weakref import WeakValueDictionary

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.logdisk import Appended, LogDisk, LogLimits, is_log_name
from kubelet_bridge.guest.logfile import LogLine
from kubelet_bridge.guest.logreader import LogReader
from kubelet_bridge.guest.logsync import LogSync, Unsynced

T = TypeVar("T")
_READERS = 4
"""Threads that read. Whoever reads much has one block at a time in their queue, as everybody else."""


class OpenLog:
    """The log of one run, from a place on. Coroutines raise ``Transient`` while the disk does not serve."""

    def __init__(self, reader: LogReader, threads: ThreadPoolExecutor) -> None:
        self._reader, self._threads = reader, threads

    async def read(self, formatted: Callable[[bytes], bytes]) -> bytes | None:
        """The next block of records as ``formatted``, on the same thread, made it; None when there are no more."""

        def step() -> bytes | None:
            block = self._reader.read()
            return formatted(block) if block else None

        return await asyncio.get_running_loop().run_in_executor(self._threads, _guarded, step)


class LogStore:
    """An async context manager; ``run`` gets to the disk what was written.

    Coroutines raise ``Transient`` while the disk does not serve.
    """

    def __init__(self, directory: Path, limits: LogLimits | None = None) -> None:
        self._directory = directory
        self._disk = LogDisk(directory, limits or LogLimits())
        self._sync = LogSync(self._take_unsynced, self._undo)
        self._executor: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._changed = WeakValueDictionary[str, asyncio.Event]()

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, "guest-logs")
        self._readers = ThreadPoolExecutor(_READERS, "guest-logs-read")
        await self._sync.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sync.__aexit__(kind, error, trace)
        if self._executor is not None:
            self._executor.submit(self._disk.close)
            await asyncio.to_thread(self._executor.shutdown)
            self._executor = None
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown)
            self._readers = None

    async def run(self) -> None:
        """Sync for ever."""
        await self._sync.run()

    async def append(self, uid: str, records: list[pb.LogRecord]) -> Appended:
        """Write what is new; records of containers that cannot be are dropped, and acknowledged all the same."""
        appended = await self._run(partial(self._disk.append, uid, records))
        self._sync.wrote(appended.bytes)
        if appended.bytes:
            self.poke(uid)
        return appended

    async def kept(self, uid: str) -> None:
        """Return once all that was appended of a Pod is on the disk; ``run`` has to run.

        Raises:
            Transient: it did not get there. What is in the files now did; the guest has to send the rest again.
        """
        await self._sync.kept(self._directory / uid)

    async def positions(self, uid: str) -> list[pb.LogAck]:
        """How far each log of a Pod has arrived."""
        return await self._run(partial(self._disk.positions, uid))

    async def read(self, uid: str, container: str, attempt: int, *, since: int = 0, limit: int = 1000) -> list[LogLine]:
        """At most ``limit`` records beyond position ``since``, oldest first; none when there is no such log."""
        read = partial(self._disk.read, uid, container, attempt, since=since, limit=limit)
        return await asyncio.to_thread(_guarded, read)

    async def attempts(self, uid: str, container: str) -> list[int]:
        """The runs of which there is a log, oldest first."""
        return await asyncio.to_thread(_guarded, partial(self._disk.attempts, uid, container))

    @asynccontextmanager
    async def open(
        self, uid: str, container: str, attempt: int, *, since: int = 0, tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[OpenLog]:
        """One run, of which there need not be a log (yet).

        Of what is older than ``since`` (ns since the epoch), that is left out which need not be read. ``tail`` begins
        so many records before the end. Without ``follow`` it ends at what is the last record now.

        Raises:
            Transient: the disk does not serve.
        """
        threads = self._readers
        if threads is None or not is_log_name(uid, container):
            raise Transient("the log store has no such log", reason="LogStoreUnavailable")
        reader = LogReader(self._directory / uid / container, attempt, since=since)
        loop = asyncio.get_running_loop()
        try:
            if tail is not None:
                await loop.run_in_executor(threads, _guarded, partial(reader.tail, tail, follow=follow))
            elif not follow:
                await loop.run_in_executor(threads, _guarded, reader.stop_at_the_end)
            yield OpenLog(reader, threads)
        finally:
            threads.submit(reader.close)  # after what is still being read for us

    def news(self, uid: str) -> asyncio.Event:
        """Set once something more of a Pod's logs has been written. To be taken before one looks at what there is."""
        changed = self._changed.get(uid)
        if changed is None:
            changed = self._changed[uid] = asyncio.Event()
        return changed

    def poke(self, uid: str) -> None:
        """Something else has happened to the Pod that whoever waits for news of it may want to look at."""
        if (changed := self._changed.pop(uid, None)) is not None:
            changed.set()

    async def changed(self, uid: str) -> None:
        """Wait until something more of a Pod's logs has been written."""
        await self.news(uid).wait()

    async def remove(self, uid: str) -> None:
        """Nothing of a Pod's logs is left afterwards. An unknown uid is no error."""
        await self._run(partial(self._disk.remove, uid))
        self.poke(uid)

    async def keep_only(self, uids: Collection[str]) -> None:
        """Remove the logs of every other Pod: of those that went while we were not there."""
        await self._run(partial(self._disk.keep_only, set(uids)))

    async def _take_unsynced(self) -> Unsynced:
        return await self._run(self._disk.take_unsynced)

    async def _undo(self, lost: Unsynced) -> None:
        await self._run(partial(self._disk.undo, lost))

    async def _run(self, function: Callable[[], T]) -> T:
        if self._executor is None:
            raise Transient("the log store is closed", reason="LogStoreUnavailable")
        return await asyncio.get_running_loop().run_in_executor(self._executor, _guarded, function)


def _guarded(function: Callable[[], T]) -> T:
    try:
        return function()
    except OSError as error:
        raise Transient(f"the logs cannot be kept: {error}", reason="LogStoreUnavailable") from error
