"""Named places at which a test may kill, delay or break the process. Off unless the environment asks at the start.

A crash at a given line cannot be had from outside; so the lines that matter carry a name. Switched off, a fail point
costs one attribute test. The syntax is ``KUBELET_BRIDGE_FAILPOINTS="name[:count][=kill|delay:SECONDS|error],…"``;
without an action it is ``kill``, with a count it acts at the count-th hit only, else at each.
"""

import errno
import os
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, assert_never

VARIABLE = "KUBELET_BRIDGE_FAILPOINTS"


class Action(StrEnum):
    """What a fail point does when it is hit."""

    KILL = "kill"
    DELAY = "delay"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked of one fail point; ``count`` 0 means at every hit, ``seconds`` belongs to ``delay``."""

    action: Action
    count: int = 0
    seconds: float = 0.0


class FailPointError(OSError):
    """What ``error`` raises: an ``EIO``, as a broken disk or network would give."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.EIO, f"fail point {name}")


class FailPoint:
    """One named place. Make it with ``declare``, as a module constant."""

    __slots__ = ("_hits", "_order", "name")

    def __init__(self, name: str, order: Order | None) -> None:
        self.name = name
        self._order = order
        self._hits = 0

    def hit(self) -> None:
        """Do what was ordered, usually nothing.

        Raises:
            FailPointError: the order was ``error``.
        """
        if self._order is not None:
            self._obey(self._order)

    def _obey(self, order: Order) -> None:
        self._hits += 1
        if order.count not in (0, self._hits):
            return
        match order.action:
            case Action.KILL:
                _die()
            case Action.DELAY:
                time.sleep(order.seconds)
            case Action.ERROR:
                raise FailPointError(self.name)
            case _:
                assert_never(order.action)


def parse(text: str) -> dict[str, Order]:
    """The orders in a value of the environment variable.

    Raises:
        ValueError: it is not of the form in this module's docstring.
    """
    return dict(_parse_one(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse_one(entry: str) -> tuple[str, Order]:
    place, _, action = entry.partition("=")
    name, _, count = place.partition(":")
    kind, _, seconds = (action or Action.KILL).partition(":")
    try:
        return name, Order(Action(kind), int(count or 0), float(seconds or 0))
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {entry!r}: want name[:count][=kill|delay:SECONDS|error]") from error


def _die() -> NoReturn:
    """End at once, as a power cut would: no handler, no flush, no ``finally``."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")  # pragma: no cover


_ORDERS = parse(os.environ.get(VARIABLE, ""))
_DECLARED: dict[str, FailPoint] = {}


def declare(name: str) -> FailPoint:
    """The fail point of that name, made at its first mention."""
    point = _DECLARED.get(name)
    if point is None:
        point = _DECLARED[name] = FailPoint(name, _ORDERS.get(name))
    return point


def hit(name: str) -> None:
    """Hit a fail point by name; for names that are made up while running."""
    declare(name).hit()


def names() -> list[str]:
    """Every name declared by the modules imported so far."""
    return sorted(_DECLARED)


def undeclared() -> list[str]:
    """Names ordered by the environment that no imported module has: most likely misspelt."""
    return sorted(_ORDERS.keys() - _DECLARED.keys())
