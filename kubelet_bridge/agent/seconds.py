"""Durations as a bridge says them: a double may be negative, infinite, or no number at all."""

from __future__ import annotations

import math


def bounded(seconds: float, least: float, most: float, *, otherwise: float) -> float:
    """So many seconds, but between ``least`` and ``most``; ``otherwise`` for 0 and for what is no number."""
    if not seconds or math.isnan(seconds):
        return otherwise
    return min(max(seconds, least), most)
