"""Container logs in the CRI's format: ``2016-10-06T00:17:09.669794202Z stdout F line``.

As containerd writes it (pkg/cri/io/logger.go): a line longer than 16 KiB, and an unfinished one at the end, is tagged P
and goes on in the next record of its stream; F ends it. So the bytes can be had back exactly.
"""

# ruff: noqa: PTH105, PTH110, PTH123 - a shim has no room for pathlib

from __future__ import annotations

import os
import time

LINE = 16 * 1024
STDOUT = b"stdout"
STDERR = b"stderr"


class Record:
    """One record as it was read."""

    __slots__ = ("data", "partial", "stream", "time")

    def __init__(self, moment: bytes, stream: bytes, data: bytes, *, partial: bool) -> None:
        self.time = moment
        self.stream = stream
        self.data = data
        self.partial = partial


def parse(line: bytes) -> Record:
    """A record from one line of a log, with or without its line end.

    Raises:
        ValueError: it is not one.
    """
    fields = line.rstrip(b"\n").split(b" ", 3)
    if len(fields) != 4 or fields[1] not in (STDOUT, STDERR) or fields[2] not in (b"F", b"P"):
        raise ValueError(f"not a record of a container's log: {line[:80]!r}")
    return Record(fields[0], fields[1], fields[3], partial=fields[2] == b"P")


def timestamp(nanoseconds: int) -> bytes:
    """RFC 3339 with nine digits, in UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


class Lines:
    """Splits the bytes of one stream into records; holds back at most one line of 16 KiB."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream
        self._rest = b""

    def feed(self, data: bytes, moment: bytes) -> bytes:
        """The records that are complete with ``data``."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        full = moment + b" " + self._stream + b" F "
        records = [full + line if len(line) <= LINE else self._pieces(line, moment, full) for line in whole]
        while len(self._rest) > LINE:
            records.append(self._partial(self._rest[:LINE], moment))
            self._rest = self._rest[LINE:]
        return b"\n".join(records) + b"\n" if records else b""

    def end(self, moment: bytes) -> bytes:
        """What was held back."""
        rest, self._rest = self._rest, b""
        return self._partial(rest, moment) + b"\n" if rest else b""

    def _pieces(self, line: bytes, moment: bytes, full: bytes) -> bytes:
        cut = (len(line) - 1) // LINE * LINE
        pieces = [self._partial(line[start : start + LINE], moment) for start in range(0, cut, LINE)]
        return b"\n".join([*pieces, full + line[cut:]])

    def _partial(self, data: bytes, moment: bytes) -> bytes:
        return moment + b" " + self._stream + b" P " + data


class CriLog:
    """A log file of bounded size: ``path``, and before it ``path.1`` (younger) to ``path.N`` (older).

    When ``path`` has reached ``limit`` bytes it becomes ``path.1``; the oldest is dropped, and ``path.dropped`` says
    how many records that were in all. No record is torn apart. What cannot be written (a full disk) is lost; the
    container runs on.
    """

    def __init__(self, path: str, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = files
        self._lines = {STDOUT: Lines(STDOUT), STDERR: Lines(STDERR)}
        self._open = self._reopen()
        self._size = os.fstat(self._open).st_size

    def write(self, stream: bytes, data: bytes) -> None:
        """Output that came now."""
        self._append(self._lines[stream].feed(data, timestamp(time.time_ns())))

    def close(self) -> None:
        """No more output comes."""
        for lines in self._lines.values():
            self._append(lines.end(timestamp(time.time_ns())))
        os.close(self._open)

    def _append(self, records: bytes) -> None:
        if not records:
            return
        if self._size >= self._limit:
            self._rotate()
        view = memoryview(records)
        try:
            while view:
                written = os.write(self._open, view)
                self._size += written
                view = view[written:]
        except OSError:
            self._mend(len(records) - len(view))

    def _mend(self, written: int) -> None:
        """A disk that is full has torn a record; take the pieces away."""
        try:
            os.ftruncate(self._open, self._size - written)
            self._size -= written
        except OSError:
            pass

    def _rotate(self) -> None:
        if os.path.exists(f"{self._path}.{self._files - 1}"):
            self._count(f"{self._path}.{self._files - 1}")
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number}"
            newer = self._path if number == 1 else f"{self._path}.{number - 1}"
            if os.path.exists(newer):
                os.replace(newer, older)
        os.close(self._open)
        self._open = self._reopen()
        self._size = 0

    def _count(self, oldest: str) -> None:
        total, staged = f"{self._path}.dropped", f"{self._path}.dropped.new"
        records = 0
        try:
            with open(oldest, "rb") as file:
                while True:
                    piece = file.read(LINE * 8)
                    if not piece:
                        break
                    records += piece.count(b"\n")
            if os.path.exists(total):
                with open(total, "rb") as file:
                    records += int(file.read())
            with open(staged, "wb") as file:
                file.write(b"%d" % records)
            os.replace(staged, total)
        except (OSError, ValueError):
            pass  # the count will be too small; better than no log

    def _reopen(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
