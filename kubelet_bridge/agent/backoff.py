"""How long to wait before the next attempt."""

from __future__ import annotations

import random

FIRST = 0.5
LAST = 60.0
STABLE = 60.0
"""After so many seconds of standing, the next failure counts as the first."""


class Backoff:
    """Doubles from ``FIRST`` to ``LAST`` seconds, spread, so that a thousand guests do not come at once."""

    def __init__(self) -> None:
        self._next = FIRST

    def failed(self, stood: float = 0.0) -> float:
        """Seconds to wait, after a connection that stood for ``stood`` seconds."""
        if stood >= STABLE:
            self._next = FIRST
        delay = self._next
        self._next = min(self._next * 2, LAST)
        return spread(delay)


def spread(delay: float) -> float:
    """``delay``, shortened by a random part of up to its half."""
    return delay * (1 - random.random() / 2)  # noqa: S311 - spreading, not secrecy
