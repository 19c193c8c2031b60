"""When logs are on the disk: one round of syncs for what all guests have written since the last one.

A sync for every batch would cost each guest the disk's latency, and the disk one journal commit for each. So rounds are
at least ``interval`` seconds apart, unless much has been written; within one, several threads sync at the same time,
which a file system commits together. Files are synced by their names: opening them once more costs microseconds, and
nobody has to wait with closing them.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.limits import KIB

log = structlog.get_logger(__name__)

INTERVAL = 0.1
MOST = 256 * KIB
_THREADS = 4
_SYNCED = failpoints.declare("guest.logs.synced")


class Unsynced:
    """What was written and may not be on the disk.

    Attributes:
        files: with the size that each is known to have on the disk.
        folders: whose entries have changed.
        doomed: files that were cut back after something had been appended: that is not in them any more.
    """

    def __init__(self) -> None:
        self.files: dict[Path, int] = {}
        self.folders: set[Path] = set()
        self.doomed: set[Path] = set()

    def wrote(self, path: Path, before: int) -> None:
        """Something was appended to ``path``, which had ``before`` bytes."""
        self.files[path] = min(before, self.files.get(path, before))

    def began(self, path: Path, top: Path) -> None:
        """The file ``path`` is new; so may the folders be that hold it, up to ``top``."""
        self.files[path] = 0
        self._folders(path, top)

    def found(self, path: Path, top: Path) -> None:
        """An earlier process may have left ``path`` unsynced."""
        self.wrote(path, sys.maxsize)
        self._folders(path, top)

    def _folders(self, path: Path, top: Path) -> None:
        self.folders.update(one for one in path.parents if one == top or top in one.parents)


class _Round:
    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.lost = Unsynced()


class LogSync:
    """An async context manager; ``run`` makes the rounds.

    Args:
        take: what was written since it was last called.
        undo: told what could not be kept.
    """

    def __init__(
        self, take: Callable[[], Awaitable[Unsynced]], undo: Callable[[Unsynced], Awaitable[None]], *,
        interval: float = INTERVAL, most: int = MOST,
    ) -> None:  # fmt: skip
        self._take, self._undo = take, undo
        self._interval, self._most = interval, most
        self._next = _Round()
        self._wanted, self._much = asyncio.Event(), asyncio.Event()
        self._written = 0
        self._threads: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(_THREADS, "guest-logs-sync")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._threads = None

    def wrote(self, count: int) -> None:
        """So many bytes were written."""
        self._written += count
        if self._written >= self._most:
            self._much.set()

    async def kept(self, folder: Path) -> None:
        """Return once all that has been written is on the disk.

        Raises:
            Transient: something below ``folder`` could not be kept; it is no longer in its file either.
        """
        waiting = self._next
        self._wanted.set()
        await waiting.over.wait()
        if any(folder in path.parents for path in waiting.lost.files):
            raise Transient("the disk did not keep what was written", reason="LogStoreUnavailable")

    async def run(self) -> None:
        """Sync for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._much.clear()
            self._written = 0
            current, self._next = self._next, _Round()
            current.lost = await self._synced(await self._take())
            if current.lost.files:
                await self._undo(current.lost)
            _SYNCED.hit()
            current.over.set()
            await self._pause()

    async def _synced(self, unsynced: Unsynced) -> Unsynced:
        """Files before the folders that name them; what could not be kept."""
        files, folders = list(unsynced.files), list(unsynced.folders)
        lost = Unsynced()
        for path in unsynced.doomed:
            lost.wrote(path, unsynced.files[path])
        for path, error in zip(files, await self._all(files, folder=False), strict=True):
            if error is not None:
                lost.wrote(path, unsynced.files[path])
                log.error("a log could not be written to the disk", error=str(error))
        for error in await self._all(folders, folder=True):
            if error is not None:
                lost.files |= unsynced.files
                log.error("a directory of logs could not be written to the disk", error=str(error))
        return lost

    async def _all(self, paths: list[Path], *, folder: bool) -> list[OSError | None]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._threads, _sync, path, folder) for path in paths))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._much.wait()
        except TimeoutError:
            pass


def _sync(path: Path, folder: bool) -> OSError | None:
    """Wait until it is on the disk; what is gone meanwhile need not be kept."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            (os.fsync if folder else os.fdatasync)(opened)
        finally:
            os.close(opened)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None
