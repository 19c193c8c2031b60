"""The files of all guests' logs: what is appended, dropped, not yet safe. Synchronous: on the log store's thread."""

import re
import shutil
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import logfile
from kubelet_bridge.guest.convert import is_container_name
from kubelet_bridge.guest.limits import MIB
from kubelet_bridge.guest.logfile import LogFile, LogLine
from kubelet_bridge.guest.logsync import Unsynced

_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]{0,63}")
_ATTEMPT = re.compile(r"(\d+)\.log(?:\.\d+)?")
_OPEN_FILES = 256
_LOOK_AT_ROOM = 1.0
"""Seconds for which the disk is believed to have as much room as it had."""


def is_log_name(uid: str, container: str) -> bool:
    """Whether there can be a log of this container of this Pod, and it lies where it should."""
    return is_container_name(container) and _UID.fullmatch(uid) is not None


class LogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Attributes:
        file_bytes: of one file, of which each container has up to ``files``.
        containers: of one Pod that may have logs.
        pod_bytes: of all files of one Pod.
        reserve: bytes of the disk that logs leave free: the database lives there too.
    """

    file_bytes: int = logfile.SEGMENT_BYTES
    files: int = 5
    containers: int = 48
    pod_bytes: int = 512 * MIB
    reserve: int = 256 * MIB


class Appended(msgspec.Struct, frozen=True):
    """What came of a batch: how far each log has arrived in its file, and how many bytes were written."""

    acks: list[pb.LogAck]
    bytes: int


class LogDisk:
    """``<directory>/<pod uid>/<container>/<attempt>.log`` (see ``logfile``). Everything raises ``OSError``."""

    def __init__(self, directory: Path, limits: LogLimits) -> None:
        self._directory, self._limits = directory, limits
        self._files: OrderedDict[Path, LogFile] = OrderedDict()
        self._unsynced = Unsynced()
        self._room_seen = float("-inf")

    def append(self, uid: str, records: list[pb.LogRecord]) -> Appended:
        """Write what is new; records of containers that cannot be are dropped, and acknowledged all the same."""
        self._check_room()
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

    def take_unsynced(self) -> Unsynced:
        """What was written since the last call."""
        taken, self._unsynced = self._unsynced, Unsynced()
        return taken

    def undo(self, lost: Unsynced) -> None:
        """Cut files back to what is known to be on the disk: what follows did not get there, and will be sent again."""
        for path, size in lost.files.items():
            if (file := self._files.get(path)) is not None:
                self._close(file)
            logfile.cut(path, min(size, self._unsynced.files.get(path, size)))
            if path in self._unsynced.files:
                self._unsynced.doomed.add(path)

    def positions(self, uid: str) -> list[pb.LogAck]:
        """How far each log of a Pod has arrived in its file; all of them count as unsynced then."""
        if not _UID.fullmatch(uid):
            return []
        found = list[pb.LogAck]()
        for folder in _entries(self._directory / uid):
            for attempt in _attempts(folder):
                path = folder / f"{attempt}.log"
                position = logfile.last_position(folder, attempt)
                found.append(pb.LogAck(container=folder.name, attempt=attempt, position=position))
                self._unsynced.found(path, self._directory)
        return found

    def remove(self, uid: str) -> None:
        """Nothing of a Pod's logs is left afterwards."""
        if not _UID.fullmatch(uid):
            return
        folder = self._directory / uid
        for file in [one for one in self._files.values() if one.path.is_relative_to(folder)]:
            self._close(file)
        if folder.exists():
            shutil.rmtree(folder)

    def keep_only(self, uids: set[str]) -> None:
        """Remove the logs of every other Pod."""
        for folder in list(_entries(self._directory)):
            if folder.name not in uids:
                self.remove(folder.name)

    def close(self) -> None:
        """Close every file."""
        for file in list(self._files.values()):
            self._close(file)

    # Reading: on any thread.

    def read(self, uid: str, container: str, attempt: int, *, since: int, limit: int) -> list[LogLine]:
        """At most ``limit`` records beyond position ``since``, oldest first."""
        if not is_log_name(uid, container):
            return []
        return list(islice(logfile.lines(self._folder(uid, container), attempt, since=since), limit))

    def attempts(self, uid: str, container: str) -> list[int]:
        """The runs of which there is a log, oldest first."""
        return _attempts(self._folder(uid, container)) if is_log_name(uid, container) else []

    def _write(self, file: LogFile, records: list[pb.LogRecord]) -> int:
        before, files = file.size, file.begun
        self._unsynced.wrote(file.path, before)
        try:
            written = file.append(records)
        except OSError:
            self._close(file)  # it may end in half a line, which opening it cuts off
            raise
        if file.begun != files or not before:
            self._unsynced.began(file.path, self._directory)
            self._drop_oldest(file.path.parent)
            self._keep_within(file.path.parent.parent)
        return written

    def _takes(self, uid: str, container: str) -> bool:
        if not is_log_name(uid, container):
            return False
        folder = self._folder(uid, container)
        return folder.is_dir() or sum(1 for _ in _entries(folder.parent)) < self._limits.containers

    def _check_room(self) -> None:
        """So that a guest that floods its log does not keep the node from promising anything."""
        now = time.monotonic()
        if now - self._room_seen < _LOOK_AT_ROOM:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (free := shutil.disk_usage(self._directory).free) < self._limits.reserve:
            raise OSError(f"{free // MIB} MiB are free, and {self._limits.reserve // MIB} MiB are not for logs")
        self._room_seen = now

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

    def _drop_oldest(self, folder: Path) -> None:
        for path in sorted(_entries(folder), key=_age)[: -self._limits.files]:
            self._drop(path)

    def _keep_within(self, pod: Path) -> None:
        """Drop what was written to longest ago, of whatever container, until the Pod has what it may have."""
        found = sorted(
            (path.stat().st_mtime_ns, self._room_for(path), path)
            for folder in _entries(pod)
            for path in _entries(folder)
        )
        excess = sum(size for _, size, _ in found) - self._limits.pod_bytes
        for _, size, path in found[:-1]:
            if excess <= 0:
                return
            self._drop(path)
            excess -= size

    def _room_for(self, path: Path) -> int:
        """A file that is written to counts as full."""
        return path.stat().st_size if _age(path)[1] == 0 else self._limits.file_bytes

    def _drop(self, path: Path) -> None:
        if (file := self._files.get(path)) is not None:
            self._close(file)
        path.unlink(missing_ok=True)

    def _folder(self, uid: str, container: str) -> Path:
        return self._directory / uid / container


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
