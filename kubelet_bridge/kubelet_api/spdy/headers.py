"""Header blocks: ``u32`` count, then for each header ``u32`` length and name, ``u32`` length and value; compressed.

All blocks of one direction are one zlib stream with a preset dictionary, flushed after each block (SPDY/3 draft,
2.6.10): each must be decoded, in order, also where nobody asks for it.
"""

import struct
import zlib
from collections.abc import Mapping

from kubelet_bridge.kubelet_api.spdy.dictionary import DICTIONARY

_WORD = struct.Struct(">I")
_WINDOW_BITS = 15
_MEMORY_LEVEL = 8


class MalformedHeaders(Exception):
    """A header block that cannot be read, or is larger than we take; nor can any after it."""


class HeaderEncoder:
    """Our direction."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(
            9, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, DICTIONARY
        )

    def encode(self, headers: Mapping[str, str]) -> bytes:
        """A block; names are written in lower case. Whatever is returned must be sent, in this order."""
        fields = [_WORD.pack(len(headers))]
        for name, value in headers.items():
            fields += [_field(name.lower().encode()), _field(value.encode("latin-1"))]
        return self._zlib.compress(b"".join(fields)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecoder:
    """The other direction. Never inflates more than ``size`` bytes (and a few) of a block."""

    def __init__(self, number: int, size: int) -> None:
        self._number, self._size = number, size
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decode(self, block: bytes) -> dict[str, str]:
        """Headers by their lower-case names; of several values of one name the first, as Go's ``Header.Get`` has it.

        Raises:
            MalformedHeaders: and from then on no block may be decoded.
        """
        try:
            plain = self._zlib.decompress(block, self._size + 1)
        except zlib.error as error:
            raise MalformedHeaders(str(error)) from None
        if len(plain) > self._size:
            raise MalformedHeaders(f"more than {self._size} bytes of headers")
        if self._zlib.eof:
            raise MalformedHeaders("the stream of headers has an end")
        try:
            return self._parse(plain)
        except struct.error:
            raise MalformedHeaders("a header block is cut short") from None

    def _parse(self, plain: bytes) -> dict[str, str]:
        (number,) = _WORD.unpack_from(plain)
        if number > self._number:
            raise MalformedHeaders(f"{number} headers")
        headers: dict[str, str] = {}
        at = _WORD.size
        for _ in range(number):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            if not name or name != name.lower() or name in headers:
                raise MalformedHeaders("an empty, repeated or upper-case header name")
            headers[name] = value.partition("\0")[0]
        if at != len(plain):
            raise MalformedHeaders("a header block is longer than its headers")
        return headers


def _field(value: bytes) -> bytes:
    return _WORD.pack(len(value)) + value


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = _WORD.unpack_from(plain, at)
    start, end = at + _WORD.size, at + _WORD.size + length
    if end > len(plain):
        raise MalformedHeaders("a header block is cut short")
    return plain[start:end].decode("latin-1"), end
