"""Plain text for people: tables like kubectl's, sizes and ages in few characters."""

from collections.abc import Sequence
from datetime import datetime

_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_GAP = "   "


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    lines = [list(headers), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def size(count: int) -> str:
    """Bytes with the largest binary unit that leaves a short number: ``1536Mi`` is ``1.5Gi``."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}".removesuffix(".0") + _UNITS[unit]


def age(since: datetime, now: datetime) -> str:
    """How long ago, in one unit: ``42s``, ``7m``, ``5h``, ``3d``."""
    seconds = max(0, int((now - since).total_seconds()))
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86400}d"
