"""Container logs on the bridge's disk: ``<state_dir>/logs/<pod uid>/<container>/<attempt>.log`` (see ``logfile``).

Written by one thread, a batch of one guest at a time. A guest has at most one batch in the queue, so that a flood of
one delays the others by one batch at the most. Nothing is synced for each line: a crash of the bridge loses nothing,
one of its machine what the kernel had not written yet.
"""

import asyncio
import re
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest import logfile
from kubelet_bridge.guest.convert import is_container_name
from kubelet_bridge.guest.logfile import LogFile, LogLine

T = TypeVar("T")
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]{0,63}")
_ATTEMPT = re.compile(r"(\d+)\.log(?:\.\d+)?")
_OPEN_FILES = 256


class LogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: ``files`` of ``file_bytes`` for each container, of ``containers`` for each Pod."""

    file_bytes: int = logfile.SEGMENT_BYTES
    files: int = 5
    containers: int = 48


class Appended(msgspec.Struct, frozen=True):
    """What came of a batch: how far each log has arrived, and how many bytes were written."""

    acks: list[pb.LogAck]
    bytes: int


class LogStore:
    """An async context manager. Coroutines raise ``Transient`` while the disk does not serve."""

    def __init__(self, directory: Path, limits: LogLimits | None = None) -> None:
        self._directory = directory
        self._limits = limits or LogLimits()
        self._files: OrderedDict[Path, LogFile] = OrderedDict()
        self._executor: ThreadPoolExecutor | None = None
        self._changed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, "guest-logs")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.submit(self._close_all)
            await asyncio.to_thread(self._executor.shutdown)
            self._executor = None

    async def append(self, uid: str, records: list[pb.LogRecord]) -> Appended:
        """Write what is new; records of containers that cannot be are dropped, and acknowledged all the same."""
        appended = await self._run(partial(self._append, uid, records))
        if appended.bytes and (changed := self._changed.pop(uid, None)) is not None:
            changed.set()
        return appended

    async def positions(self, uid: str) -> list[pb.LogAck]:
        """How far each log of a Pod has arrived."""
        return await self._run(partial(self._positions, uid))

    async def read(self, uid: str, container: str, attempt: int, *, since: int = 0, limit: int = 1000) -> list[LogLine]:
        """At most ``limit`` records beyond position ``since``, oldest first; none when there is no such log."""
        return await asyncio.to_thread(_guarded, partial(self._read, uid, container, attempt, since, limit))

    async def attempts(self, uid: str, container: str) -> list[int]:
        """The runs of which there is a log, oldest first."""
        return await asyncio.to_thread(_guarded, partial(self._attempts_of, uid, container))

    async def changed(self, uid: str) -> None:
        """Wait until something more of a Pod's logs has been written."""
        await self._changed[uid].wait()

    async def remove(self, uid: str) -> None:
        """Nothing of a Pod's logs is left afterwards. An unknown uid is no error."""
        await self._run(partial(self._remove, uid))
        if (changed := self._changed.pop(uid, None)) is not None:
            changed.set()

    async def keep_only(self, uids: Collection[str]) -> None:
        """Remove the logs of every other Pod: of those that went while we were not there."""
        await self._run(partial(self._keep_only, set(uids)))

    async def _run(self, function: Callable[[], T]) -> T:
        if self._executor is None:
            raise Transient("the log store is closed", reason="LogStoreUnavailable")
        return await asyncio.get_running_loop().run_in_executor(self._executor, _guarded, function)

    # On the thread.

    def _append(self, uid: str, records: list[pb.LogRecord]) -> Appended:
        runs: dict[tuple[str, int], list[pb.LogRecord]] = defaultdict(list)
        for record in records:
            runs[record.container, record.attempt].append(record)
        acks, written = list[pb.LogAck](), 0
        for (container, attempt), batch in runs.items():
            position = batch[-1].position
            if self._takes(uid, container):
                file = self._open(self._folder(uid, container) / f"{attempt}.log")
                written += self._write(file, batch)
                position = file.position
            acks.append(pb.LogAck(container=container, attempt=attempt, position=position))
        return Appended(acks, written)

    def _write(self, file: LogFile, records: list[pb.LogRecord]) -> int:
        try:
            return file.append(records)
        except OSError:
            self._close(file)  # it may end in half a line, which opening it cuts off
            raise
        finally:
            self._drop_oldest(file.path.parent)

    def _takes(self, uid: str, container: str) -> bool:
        if not is_container_name(container) or not _UID.fullmatch(uid):
            return False
        folder = self._folder(uid, container)
        return folder.is_dir() or sum(1 for _ in _entries(folder.parent)) < self._limits.containers

    def _open(self, path: Path) -> LogFile:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = LogFile(path, segment_bytes=self._limits.file_bytes)
            while len(self._files) > _OPEN_FILES:
                self._close(next(iter(self._files.values())))
        self._files.move_to_end(path)
        return file

    def _close(self, file: LogFile) -> None:
        self._files.pop(file.path, None)
        file.close()

    def _close_all(self) -> None:
        for file in list(self._files.values()):
            self._close(file)

    def _drop_oldest(self, folder: Path) -> None:
        files = sorted(_entries(folder), key=_age)
        for path in files[: -self._limits.files]:
            if (file := self._files.get(path)) is not None:
                self._close(file)
            path.unlink(missing_ok=True)

    def _positions(self, uid: str) -> list[pb.LogAck]:
        if not _UID.fullmatch(uid):
            return []
        return [
            pb.LogAck(container=folder.name, attempt=attempt, position=logfile.last_position(folder, attempt))
            for folder in _entries(self._directory / uid) for attempt in _attempts(folder)
        ]  # fmt: skip

    def _read(self, uid: str, container: str, attempt: int, since: int, limit: int) -> list[LogLine]:
        if not is_container_name(container) or not _UID.fullmatch(uid):
            return []
        return list(islice(logfile.lines(self._folder(uid, container), attempt, since=since), limit))

    def _attempts_of(self, uid: str, container: str) -> list[int]:
        known = is_container_name(container) and _UID.fullmatch(uid)
        return _attempts(self._folder(uid, container)) if known else []

    def _remove(self, uid: str) -> None:
        if not _UID.fullmatch(uid):
            return
        folder = self._directory / uid
        for file in [one for one in self._files.values() if one.path.is_relative_to(folder)]:
            self._close(file)
        if folder.exists():
            shutil.rmtree(folder)

    def _keep_only(self, uids: set[str]) -> None:
        for folder in list(_entries(self._directory)):
            if folder.name not in uids:
                self._remove(folder.name)

    def _folder(self, uid: str, container: str) -> Path:
        return self._directory / uid / container


def _guarded(function: Callable[[], T]) -> T:
    try:
        return function()
    except OSError as error:
        raise Transient(f"the logs cannot be kept: {error}", reason="LogStoreUnavailable") from error


def _entries(folder: Path) -> Iterable[Path]:
    try:
        yield from folder.iterdir()
    except (FileNotFoundError, NotADirectoryError):
        return


def _age(path: Path) -> tuple[int, int, int]:
    """Older files first: by run, then the rotated ones by position, then the one that is written to."""
    found = _ATTEMPT.fullmatch(path.name)
    if found is None:
        return -1, 0, 0
    suffix = path.suffix[1:]
    return int(found[1]), int(not suffix.isdecimal()), int(suffix) if suffix.isdecimal() else 0


def _attempts(folder: Path) -> list[int]:
    matches: Iterator[re.Match[str] | None] = (_ATTEMPT.fullmatch(path.name) for path in _entries(folder))
    return sorted({int(found[1]) for found in matches if found is not None})
