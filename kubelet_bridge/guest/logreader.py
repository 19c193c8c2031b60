"""Reads the log of one run by the block, through rotation, and goes on where it was when there is more.

Synchronous: on the log store's reading threads, while another writes. It keeps the file open that it reads: what a
rotation renames, or drops, is still read to its end.
"""

import os
import threading
from functools import lru_cache
from pathlib import Path

from kubelet_bridge.guest import logfile
from kubelet_bridge.model import logrecord

BLOCK = 256 * 1024
"""Bytes; several times what a record has at the most. One is read and formatted within a millisecond or two."""
_HEAD = 64
"""Bytes that a record's position is surely in."""
_TRIES = 8
"""How often a rotation may get in between; there are seconds from one to the next."""


class LogReader:
    """Begins before the first record. Everything raises ``OSError``; a run without files has nothing in it.

    ``tail`` and ``stop_at_the_end`` are for before the first ``read``.

    Args:
        since: files in which every record is from before this moment (ns since the epoch) are passed over.
        block: bytes that are read at once; more than a record has.
    """

    def __init__(self, folder: Path, attempt: int, *, since: int = 0, block: int = BLOCK) -> None:
        self._folder, self._attempt, self._since, self._block = folder, attempt, since, block
        self._path = folder / f"{attempt}.log"
        self._file, self._offset = -1, 0
        self._position = 0
        self._end = self._left = logrecord.LARGEST
        self._closed, self._busy = False, threading.Lock()

    def close(self) -> None:
        """Waits for a ``read`` on another thread."""
        with self._busy:
            self._closed = True
            self._let_go()

    def stop_at_the_end(self) -> None:
        """Read no further than to what is the last record now, however fast more are written."""
        self._end = logfile.last_position(self._folder, self._attempt)

    def tail(self, count: int, *, follow: bool) -> None:
        """Begin ``count`` records before the end of what is there now, or at the first; without ``follow``, read those.

        Pieces of a line count, as in a kubelet's files (``findTailLineStartIndex`` in cri-client).
        """
        self._left = logrecord.LARGEST if follow else count
        with self._busy:
            for _ in range(0 if self._closed else _TRIES):
                files = self._files()
                self._let_go()
                self._find_tail(files, count)
                if files == self._files():
                    break
        if not follow:
            self.stop_at_the_end()

    def read(self) -> bytes:
        """Whole records that come next, about a block of them; empty when there are none (yet)."""
        with self._busy:
            while not self._closed and self._position < self._end and self._left > 0:
                if self._file < 0 and not self._open_next():
                    break
                left = self._is_left()
                if block := self._read_here():
                    return self._counted(block)
                if not left:  # before we read: nothing was written to it after that
                    break
                self._let_go()
            return b""

    def _files(self) -> list[Path]:
        return logfile.segments(self._folder, self._attempt)

    def _read_here(self) -> bytes:
        """From this file; empty at its end. What was read before is left out, and what is beyond our end."""
        while block := self._whole_lines():
            self._offset += len(block)
            if kept := logrecord.between(block, self._position, self._end):
                self._position = logrecord.last_position(kept)
                return kept
        return b""

    def _counted(self, block: bytes) -> bytes:
        """As much of it as is still wanted."""
        count = block.count(b"\n")
        if count > self._left:
            block = block[: _after(block, self._left)]
        self._left -= min(count, self._left)
        return block

    def _whole_lines(self) -> bytes:
        """What follows, up to a line's end. Of a file that was cut back meanwhile: from its beginning."""
        if self._offset:
            raw = os.pread(self._file, self._block + 1, self._offset - 1)
            if raw[:1] == b"\n":
                return raw[1 : raw.rfind(b"\n") + 1]
            self._offset = 0
        raw = os.pread(self._file, self._block, 0)
        return raw[: raw.rfind(b"\n") + 1]

    def _is_left(self) -> bool:
        """Whether nothing more is written to this file: it has another name by now, or none."""
        try:
            return not os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return True

    def _open_next(self) -> bool:
        """The file that holds the next record, or will; False when there is none."""
        tries = 0
        while tries < _TRIES and (path := self._next()) is not None:
            try:
                self._open(path)
            except FileNotFoundError:  # renamed or dropped since
                tries += 1
                continue
            if path != self._path and self._pass_over(path):
                self._let_go()
            elif self._next() == path and (path != self._path or not self._is_left()):
                return True
            else:
                self._let_go()
                tries += 1
        return False

    def _next(self) -> Path | None:
        files = self._files()
        later = (one for one in files if one == self._path or logfile.first_position(one) > self._position)
        return next(later, None)

    def _pass_over(self, path: Path) -> bool:
        """Whether the file, which nobody writes to any more, is too old; then we are behind it."""
        if not self._since:
            return False
        facts = os.fstat(self._file)
        latest, last = _summary(path, facts.st_ino, facts.st_size)
        if last <= self._position or latest >= self._since:
            return False
        self._position = last
        return True

    def _find_tail(self, files: list[Path], count: int) -> None:
        for path in reversed(files):
            try:
                self._open(path)
            except FileNotFoundError:
                return
            end = self._end_of_lines()
            self._offset, found = self._back(end, count)
            count -= found
            if not count or path == files[0]:
                self._position = self._position_before(self._offset, end)
                return
            self._let_go()

    def _back(self, end: int, count: int) -> tuple[int, int]:
        """Where the last ``count`` lines before ``end`` begin, or as many as there are; and how many that is."""
        found, right = 0, end
        while count and right > 0:
            begin = max(0, right - self._block)
            block = os.pread(self._file, right - begin, begin)
            here = block.count(b"\n")
            if found + here > count:
                return begin + _after(block, found + here - count), count
            found, right = found + here, begin
        return right, found

    def _end_of_lines(self) -> int:
        end = os.fstat(self._file).st_size
        while end > 0:
            begin = max(0, end - self._block)
            newline = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
        return 0

    def _position_before(self, offset: int, end: int) -> int:
        if offset == end:
            return logfile.last_position(self._folder, self._attempt)
        return max(0, logrecord.position(os.pread(self._file, _HEAD, offset)) - 1)

    def _open(self, path: Path) -> None:
        self._file, self._offset = os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@lru_cache(1024)
def _summary(path: Path, _inode: int, _size: int) -> tuple[int, int]:
    """Of a file that stays as it is: its latest time, and its last position.

    The position is 0 of a file that ends within a line: whether a record begins a line is told by the one before.
    """
    latest, block = 0, b""
    with path.open("rb") as opened:
        while lines := opened.readlines(BLOCK):
            block = b"".join(lines)
            latest = max(latest, logrecord.latest(block))
    return latest, 0 if logrecord.ends_within_line(block) else logrecord.last_position(block)


def _after(block: bytes, newlines: int) -> int:
    """Where the text after so many newlines begins."""
    at = 0
    for _ in range(newlines):
        at = block.find(b"\n", at) + 1
    return at
