"""A record of a container's log as a line of a file (``guest.logfile`` writes them), taken apart by the block.

Blocks are whole lines, the last one included. A line that is no record (a crash of the machine may leave some) is in
none of the results.
"""

import re

# position, lost, time (ns), stream, flag; data holds no newline
_RECORD = re.compile(rb"(?m)^\d{1,19} \d{1,20} (\d{1,19}) ([oe])([FP]) ([^\n]*)\n")
_WHOLE_LINE = re.compile(rb"(?m)^\d{1,19} \d{1,20} \d{1,19} [oe]F ([^\n]*\n)")
_TIME = re.compile(rb"(?m)^\d{1,19} \d{1,20} (\d{1,19}) [oe][FP] ")
_POSITION = re.compile(rb"(\d{1,19}) \d{1,20} \d{1,19} [oe][FP] ")

STDOUT = b"o"
STDERR = b"e"
PARTIAL = b"P"
LARGEST = 2**63 - 1
"""No position is higher."""


def records(block: bytes) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Time (ns since the epoch, decimal), stream, flag and data of each record."""
    return _RECORD.findall(block)


def text(block: bytes) -> bytes | None:
    """The data of a block in which every line is a record of a whole line; None of any other. Much the fastest."""
    found = _WHOLE_LINE.findall(block)
    return b"".join(found) if len(found) == block.count(b"\n") else None


def latest(block: bytes) -> int:
    """The highest time; 0 when there is no record."""
    return max(map(int, _TIME.findall(block)), default=0)


def position(block: bytes, start: int = 0) -> int:
    """Of the record in the line that begins at ``start``; 0 when that is none."""
    found = _POSITION.match(block, start)
    return int(found[1]) if found is not None else 0


def last_position(block: bytes) -> int:
    """Of the last line's record; 0 when that is none."""
    return position(block, block.rfind(b"\n", 0, len(block) - 1) + 1)


def between(block: bytes, after: int, upto: int = LARGEST) -> bytes:
    """The records with positions beyond ``after``, up to ``upto``."""
    first, last = position(block), last_position(block)
    if first > after and 0 < last <= upto:
        return block
    if 0 < last <= after:
        return b""
    return b"".join(line + b"\n" for line in block.split(b"\n") if after < position(line) <= upto)


def ends_within_line(block: bytes) -> bool:
    """Whether the last record is a piece of a line that goes on in the next one."""
    found = _RECORD.search(block, block.rfind(b"\n", 0, len(block) - 1) + 1)
    return found is not None and found[3] == PARTIAL
