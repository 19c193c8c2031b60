"""Reading one run's log file into numbered records, through rotation and truncation.

A record's position is a pure function of the file's content: the n-th line (or piece of a line) has position n. So an
agent that begins again at a remembered place numbers the same lines as the one before it.

A log that was rotated is ``path`` and before it ``path.1`` to ``path.N``, the oldest; ``path.dropped`` is the number of
records in files older than those, so that the first record of the oldest file has a known position.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from kubelet_bridge.agent.logs.cri import Line, parse, pieces, records_in

_CHUNK = 64 * 1024
_ROTATED = 9
"""A log has at most so many older files."""
_ATTEMPTS = 3
LONGEST = 1024 * 1024
"""Bytes of a line that is waited for; a longer one is cut."""


class Place(NamedTuple):
    """A place between two lines of a log file: ``position`` records end before byte ``offset`` of file ``inode``."""

    inode: int
    offset: int
    position: int


class Numbered(NamedTuple):
    """A record with its position."""

    position: int
    line: Line


class Tail:
    """One log file, read from a place on; kept open, so that what a rotation unlinked is still read to its end.

    Reading blocks, for no longer than the disk takes for a piece of at most 1 MiB.
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self._path = path
        self.place = place or Place(0, 0, 0)
        self._fd = -1
        self._last: Line | None = None
        self._floor = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def seek(self, place: Place, floor: int) -> None:
        """Go back to ``place``. If that is gone by a rotation, what follows is numbered from ``floor`` on at least."""
        self._floor = floor
        self._last = None
        if place.inode != self.place.inode:
            self.close()
        self.place = place

    def backlog(self) -> int:
        """Bytes that wait behind the place."""
        if not self._open():
            return 0
        return max(0, os.fstat(self._fd).st_size - self.place.offset)

    def changed(self) -> bool:
        """Whether there may be something to read: cheap, one or two calls of the system."""
        if self._fd < 0:
            return self._open() and (self.backlog() > 0 or self._rotated())
        if os.fstat(self._fd).st_size != self.place.offset:
            return True
        return self._rotated()

    def read(self, limit: int, *, end: bool = False) -> list[Numbered]:
        """Whole lines, about ``limit`` bytes of them. With ``end``, a last line without a line end counts too."""
        if not self._open():
            return []
        records = self._read(limit, end=end)
        if not records and self._rotated():
            records = self._read(limit, end=True)  # nobody writes to the old file any more
            if not records:
                self._go_on()
                records = self._read(limit, end=end) if self._open() else []
        return records

    def skip(self, keep: int) -> int:
        """If more than ``keep`` bytes wait, pass over up to 1 MiB of them; how many records that were.

        Repeat it until it says 0.
        """
        excess = self.backlog() - keep
        if excess <= 0:
            return 0
        raw = os.pread(self._fd, LONGEST, self.place.offset)
        stop = raw.find(b"\n", excess - 1)
        lines, used = _lines(raw if stop < 0 else raw[: stop + 1], end=False)
        lost = sum(records_in(line) for line in lines) if used else 0
        self.place = self.place._replace(offset=self.place.offset + used, position=self.place.position + lost)
        return lost

    def _read(self, limit: int, *, end: bool) -> list[Numbered]:
        size = max(limit, _CHUNK)
        raw = os.pread(self._fd, size, self.place.offset)
        if not raw and os.fstat(self._fd).st_size < self.place.offset:
            self.place = self.place._replace(offset=0)  # truncated in place: what follows is new
            raw = os.pread(self._fd, size, 0)
        lines, used = _lines(raw, end=end and len(raw) < size)
        if not used and len(raw) == size:
            raw = os.pread(self._fd, LONGEST, self.place.offset)
            lines, used = _lines(raw, end=end or len(raw) == LONGEST)
        return self._number(lines, used)

    def _number(self, lines: list[bytes], used: int) -> list[Numbered]:
        records: list[Numbered] = []
        position = self.place.position
        for raw in lines:
            self._last = parse(raw, self._last)
            for piece in pieces(self._last):
                position += 1
                records.append(Numbered(position, piece))
        self.place = self.place._replace(offset=self.place.offset + used, position=position)
        return records

    def _open(self) -> bool:
        """Open the file, at the place if it is still the same file and as long as it was."""
        if self._fd >= 0:
            return True
        for _ in range(_ATTEMPTS):
            path, known = self._where()
            try:
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # it has just been rotated, or there is none yet
            status = os.fstat(self._fd)
            if known and status.st_ino != self.place.inode:
                self.close()
                continue
            if not known or status.st_size < self.place.offset:
                floor = self._floor if self.place.inode else 0  # of a file never read, the first line is the first
                self.place = Place(status.st_ino, 0, max(self.place.position, floor, 0 if known else self._dropped()))
            return True
        return False

    def _where(self) -> tuple[str, bool]:
        """The file of the place, and True; the oldest there is, and False, when that has gone."""
        files = self._files()
        for path, inode in files:
            if inode == self.place.inode:
                return path, True
        return (files[0][0] if files else self._path), False

    def _files(self) -> list[tuple[str, int]]:
        """Paths and inodes of all files of this log, the oldest first."""
        found: list[tuple[str, int]] = []
        for path in [self._path, *(f"{self._path}.{number}" for number in range(1, _ROTATED + 1))]:
            try:
                found.insert(0, (path, os.stat(path).st_ino))  # noqa: PTH116 - as below
            except OSError:  # noqa: PERF203 - a few
                continue
        return found

    def _dropped(self) -> int:
        try:
            with open(f"{self._path}.dropped", "rb") as file:  # noqa: PTH123 - as below
                return int(file.read(20))
        except (OSError, ValueError):
            return 0

    def _rotated(self) -> bool:
        try:
            return os.stat(self._path).st_ino != self.place.inode  # noqa: PTH116 - ten times the cost, for each poll
        except OSError:
            return False

    def _go_on(self) -> None:
        """To the next younger file; what was dropped in between is left out of the numbers."""
        inodes = [inode for _, inode in self._files()]
        after = inodes.index(self.place.inode) + 1 if self.place.inode in inodes else 0
        position = self.place.position if after else max(self.place.position, self._dropped())
        self.close()
        self.place = Place(inodes[after] if after < len(inodes) else 0, 0, position)


def _lines(raw: bytes, *, end: bool) -> tuple[list[bytes], int]:
    """The whole lines in ``raw``, and how many bytes they are with their ends."""
    last = raw.rfind(b"\n")
    if end and last + 1 < len(raw):
        return raw.split(b"\n"), len(raw)
    if last < 0:
        return [], 0
    return raw[:last].split(b"\n"), last + 1
