"""The log of one run of a container, as files. Synchronous: it runs on the log store's thread.

``<attempt>.log`` is written to; when it is full it becomes ``<attempt>.log.<first position, 20 digits>`` and another is
begun. One line is one record::

    <position> <lost> <time, ns> <stream: o|e><F|P> <data>

``position`` grows; ``lost`` counts records that the guest lost before this one; ``P`` says that the line goes on in the
next record of the same stream. Data holds no newline. A file that does not end with one was torn by a crash: what
follows the last newline is cut off before anything is appended, and the guest, who was not told that it arrived, sends
it again. The position in each line makes appending idempotent: what is not beyond the last one is dropped.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.aio import failpoints

SEGMENT_BYTES = 10 * 1024 * 1024
RECORD_BYTES = 16 * 1024
_TAIL_BYTES = 2 * RECORD_BYTES
_LARGEST = 2**63 - 1
_WRITTEN = failpoints.declare("guest.logs.written")


class LogLine(msgspec.Struct, frozen=True):
    """One record of a log, as the kubelet API reads it."""

    position: int
    lost: int
    time: datetime
    stderr: bool
    partial: bool
    data: bytes


def encode(record: pb.LogRecord) -> bytes:
    """A record as a line; what breaks the rules is made to keep them."""
    stream = "e" if record.stream == pb.LOG_STREAM_STDERR else "o"
    head = f"{record.position} {record.lost} {min(record.time, _LARGEST)} {stream}{'P' if record.partial else 'F'} "
    return head.encode() + record.data[:RECORD_BYTES].replace(b"\n", b" ") + b"\n"


def decode(line: bytes) -> LogLine:
    """A line without its newline.

    Raises:
        ValueError: it is none of ours.
    """
    position, lost, time, flags, data = line.split(b" ", 4)
    seconds, nanoseconds = divmod(int(time), 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return LogLine(int(position), int(lost), moment, flags[:1] == b"e", flags[1:] == b"P", data)


class LogFile:
    """Appends to the log of one run. Raises ``OSError``; it must then be closed and opened again."""

    def __init__(self, path: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.path = path
        self._segment_bytes = segment_bytes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._size = _mend(self._file)
            self.position = _last_position(self._file, self._size) or _last_rotated(path)
        except BaseException:
            self.close()
            raise

    def append(self, records: Iterable[pb.LogRecord]) -> int:
        """Write the records that are new, in order; how many bytes they took."""
        lines, position = list[bytes](), self.position
        for record in records:
            if position < record.position <= _LARGEST:
                lines.append(encode(record))
                position = record.position
        written = sum(map(len, lines))
        if lines:
            if self._size and self._size + written > self._segment_bytes:
                self._rotate()
            _write_all(self._file, b"".join(lines))
            self._size += written
            self.position = position
            _WRITTEN.hit()
        return written

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _rotate(self) -> None:
        first = decode(_first_line(self._file)).position
        os.fsync(self._file)
        self.path.replace(self.path.with_name(f"{self.path.name}.{first:020}"))
        fresh = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(self._file)
        self._file, self._size = fresh, 0


def segments(directory: Path, attempt: int) -> list[Path]:
    """The files of one run, oldest first."""
    current = directory / f"{attempt}.log"
    older = sorted(directory.glob(f"{attempt}.log.*"))
    return [*older, current] if current.exists() else older


def lines(directory: Path, attempt: int, *, since: int) -> Iterator[LogLine]:
    """The records beyond position ``since``, in order; a torn line at the end of a file is not shown."""
    files = segments(directory, attempt)
    firsts = [_position_in_name(file) for file in files[1:]]
    for number, file in enumerate(files):
        following = firsts[number] if number < len(firsts) else 0
        if following and following <= since + 1:
            continue  # all of it is before
        yield from (line for line in _lines_of(file) if line.position > since)


def last_position(directory: Path, attempt: int) -> int:
    """The position of the last whole record of a run; 0 when there is none."""
    path = directory / f"{attempt}.log"
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _last_rotated(path)
    try:
        return _last_position(file, os.fstat(file).st_size) or _last_rotated(path)
    finally:
        os.close(file)


def _lines_of(file: Path) -> Iterator[LogLine]:
    with file.open("rb") as opened:
        for line in opened:
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line[:-1])
            except (ValueError, OverflowError):
                continue


def _position_in_name(file: Path) -> int:
    """Of a rotated file: that of its first record; 0 for the one that is written to."""
    suffix = file.name.rpartition(".log")[2]
    return int(suffix[1:]) if suffix[1:].isdecimal() else 0


def _last_rotated(path: Path) -> int:
    """The last position before ``path`` was begun."""
    older = sorted(path.parent.glob(f"{path.name}.*"))
    if not older:
        return 0
    file = os.open(older[-1], os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _last_position(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def _mend(file: int) -> int:
    """Cut off a torn line at the end; the size that is left."""
    size = os.fstat(file).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(file, size - start, start)
    whole = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    if whole != size:
        os.ftruncate(file, whole)
    os.lseek(file, whole, os.SEEK_SET)
    return whole


def _last_position(file: int, size: int) -> int:
    start = max(0, size - 2 * _TAIL_BYTES)
    whole, newline, _torn = os.pread(file, size - start, start).rpartition(b"\n")
    last = whole.rpartition(b"\n")[2]
    try:
        return decode(last).position if newline else 0
    except (ValueError, OverflowError):
        return 0


def _first_line(file: int) -> bytes:
    return os.pread(file, _TAIL_BYTES, 0).partition(b"\n")[0]


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
