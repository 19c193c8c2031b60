"""The head of SQLite's write-ahead log, checked as SQLite checks it (https://www.sqlite.org/fileformat2.html#walformat).

SQLite ignores a log whose head it cannot read, and with it every commit since the last checkpoint, in silence; then it
deletes the log. A torn tail is another matter: a crash leaves one, and nobody was told that those commits were done.
"""

import struct

HEAD_BYTES = 32
_VERSION = 3007000
_ORDER_BY_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}


def is_readable(head: bytes) -> bool:
    """Whether SQLite will take a log that begins with these ``HEAD_BYTES``; an empty or zeroed one holds no commit."""
    if not head.strip(b"\0"):
        return True
    if len(head) < HEAD_BYTES:
        return False
    magic, version = struct.unpack_from(">II", head)
    order = _ORDER_BY_MAGIC.get(magic)
    if order is None or version != _VERSION:
        return False
    return _checksum(struct.unpack_from(f"{order}6I", head)) == struct.unpack_from(">II", head, 24)


def _checksum(words: tuple[int, ...]) -> tuple[int, int]:
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
