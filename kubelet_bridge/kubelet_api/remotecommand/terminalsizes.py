"""The resize stream: JSON objects ``{"Width":80,"Height":24}``, one after the other, cut into pieces anywhere."""

import json
from typing import Any, NamedTuple

_LONGEST = 1024  # characters of one object
_MOST_AT_ONCE = 16 * 1024  # bytes of a piece: nobody is that quick with a window, and each object takes time
_MOST = 0xFFFF  # columns and rows are a uint16


class TerminalSize(NamedTuple):
    """In characters."""

    columns: int
    rows: int


class TerminalSizes:
    """Takes the stream's bytes, gives sizes. What is no JSON ends it, as it ends Go's decoder."""

    def __init__(self) -> None:
        self._rest = ""
        self._broken = False

    def feed(self, data: bytes) -> TerminalSize | None:
        """The newest of the sizes that are complete with ``data``; None when none is."""
        newest: TerminalSize | None = None
        self._broken = self._broken or len(data) > _MOST_AT_ONCE
        if self._broken:
            return None
        self._rest += data.decode("ascii", errors="replace")
        while (found := self._next()) is not None:
            newest = _size(found) or newest
        return newest

    def _next(self) -> object | None:
        rest = self._rest.lstrip()
        try:
            found, end = json.JSONDecoder().raw_decode(rest) if rest.startswith("{") else (None, 0)
        except (ValueError, RecursionError):  # not yet complete, or never
            found, end = None, 0
        if found is None:
            self._broken = len(rest) > _LONGEST or bool(rest and not rest.startswith("{"))
        self._rest = "" if self._broken else rest[end:]
        return found


def _size(found: object) -> TerminalSize | None:
    """Names are matched whatever their case, as by Go."""
    fields: dict[str, Any] = {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    size = TerminalSize(fields.get("width", 0), fields.get("height", 0))
    return size if all(type(one) is int and 0 < one <= _MOST for one in size) else None
