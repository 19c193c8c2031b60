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
_ROTATED = failpoints.declare("guest.logs.rotated")


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
    """Appends to the log of one run. Raises ``OSError``; it must then be closed and opened again.

    Attributes:
        size: bytes in the file that is written to.
        position: of the last record.
        begun: how often another file was begun.
    """

    def __init__(self, path: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.path = path
        self._segment_bytes = segment_bytes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.begun = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.size = _mend(self._file)
            self.position = _last_position(self._file, self.size) or _last_rotated(path)
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
            if self.size and self.size + written > self._segment_bytes:
                self._rotate()
            _write_all(self._file, b"".join(lines))
            self.size += written
            self.position = position
            _WRITTEN.hit()
        return written

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _rotate(self) -> None:
        """The full file is on the disk before another is begun: a gap between the two would pass for delivered."""
        first = decode(_first_line(self._file)).position
        os.fsync(self._file)
        self.path.replace(self.path.with_name(f"{self.path.name}.{first:020}"))
        _ROTATED.hit()
        fresh = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(self._file)
        self._file, self.size = fresh, 0
        self.begun += 1


def segments(directory: Path, attempt: int) -> list[Path]:
    """The files of one run, oldest first."""
    current = directory / f"{attempt}.log"
    older = sorted(directory.glob(f"{attempt}.log.*"))
    return [*older, current] if current.exists() else older


def first_position(file: Path) -> int:
    """Of a rotated file: that of its first record; 0 for the one that is written to."""
    suffix = file.name.rpartition(".log")[2]
    return int(suffix[1:]) if suffix[1:].isdecimal() else 0


def lines(directory: Path, attempt: int, *, since: int) -> Iterator[LogLine]:
    """The records beyond position ``since``, in order; a torn line at the end of a file is not shown."""
    files = segments(directory, attempt)
    firsts = [first_position(file) for file in files[1:]]
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


def cut(path: Path, size: int) -> None:
    """Make the file at most so large; one that is gone is no error."""
    try:
        if path.stat().st_size > size:
            os.truncate(path, size)
    except FileNotFoundError:
        pass


def _mend(file: int) -> int:
    """Cut off what a crash has left at the end and is no whole line of ours; the size that is left."""
    size = os.fstat(file).st_size
    _, end = _last_line(file, size)
    if end != size:
        os.ftruncate(file, end)
    os.lseek(file, end, os.SEEK_SET)
    return end


def _last_position(file: int, size: int) -> int:
    line, _ = _last_line(file, size)
    return line.position if line is not None else 0


def _last_line(file: int, size: int) -> tuple[LogLine | None, int]:
    """The last whole line of ours, and where it ends: after a crash of the machine zeros may follow, however many."""
    end = size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        lines_ = os.pread(file, end - start, start).split(b"\n")
        offset = end - len(lines_.pop())  # behind the last newline
        while len(lines_) > (start > 0):  # the first may have begun before ``start``
            line = lines_.pop()
            try:
                return decode(line), offset
            except (ValueError, OverflowError):
                offset -= len(line) + 1
        end = offset if offset < end else start
    return None, 0


def _first_line(file: int) -> bytes:
    return os.pread(file, _TAIL_BYTES, 0).partition(b"\n")[0]


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
