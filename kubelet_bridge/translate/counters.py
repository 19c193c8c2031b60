"""Counters that never go down, made of counters that begin anew: at a boot, on another host, with another source."""

from enum import Enum

import msgspec


class Since(Enum):
    """How a new reading of a counter relates to the one before."""

    BEFORE = "before"
    """The same counter, which only grows; where it has shrunk all the same, it lost something that was counted."""

    ZERO = "zero"
    """It began at zero after the last reading: all of it is new."""

    ELSEWHERE = "elsewhere"
    """Another counter of the same thing: only what it grows by from here on is new."""


class Counter(msgspec.Struct, array_like=True):
    """The sum of what was counted, and the last reading."""

    total: int = 0
    last: int = 0

    @classmethod
    def at(cls, reading: int) -> "Counter":
        """One whose first reading is all that was ever counted."""
        return cls(reading, reading)

    def take(self, reading: int, since: Since) -> int:
        """A new reading; the sum, which is at least what it was."""
        match since:
            case Since.BEFORE:
                self.total += max(0, reading - self.last)
            case Since.ZERO:
                self.total += reading
            case Since.ELSEWHERE:
                pass
        self.last = reading
        return self.total
