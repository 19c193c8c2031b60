"""Whether KubeVirt can be relied on now: a probe asked again and again, believed after enough of the same answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from kubelet_bridge.errors import BridgeError

log = structlog.get_logger(__name__)

CONDITION = "KubeVirtAvailable"
Probe = Callable[[], Awaitable[None]]
"""Returns when KubeVirt answers as it should; else a ``BridgeError``, whose reason and message the condition shows."""


class Availability:
    """A condition with inertia: so many failures in a row until False, so many successes until True again.

    Attributes:
        available: the verdict; None before the first.
    """

    def __init__(self, *, failures: int = 3, successes: int = 1) -> None:
        self.available: bool | None = None
        self._needed = {False: failures, True: successes}
        self._row, self._last = 0, True
        self._error: BridgeError | None = None

    def record(self, error: BridgeError | None) -> bool:
        """Note one answer of the probe (None: all is well); whether the verdict changed by it."""
        good = error is None
        self._row = self._row + 1 if good == self._last else 1
        self._last = good
        self._error = error if error is not None else self._error
        before = self.available
        if self._row >= self._needed[good]:
            self.available = good
        return self.available != before

    def condition(self) -> dict[str, Any]:
        """The Node condition, without its times."""
        if self.available is None:
            return _condition("Unknown", "NotProbed", "KubeVirt has not answered yet")
        if self.available or self._error is None:
            return _condition("True", "KubeVirtReady", "KubeVirt takes virtual machines")
        return _condition("False", self._error.reason, self._error.message)


async def watch(
    probe: Probe, availability: Availability, changed: Callable[[], None], *, interval: float = 10.0
) -> None:
    """Probe for ever, and call ``changed`` when the verdict is another one."""
    while True:
        error: BridgeError | None = None
        try:
            async with asyncio.timeout(interval):
                await probe()
        except TimeoutError:
            error = BridgeError(f"no answer within {interval:.0f} s", reason="KubeVirtTimeout")
        except BridgeError as raised:
            error = raised
        if availability.record(error):
            log.info("KubeVirt", available=availability.available, error=str(error) if error else None)
            changed()
        await asyncio.sleep(interval)


def _condition(status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": CONDITION, "status": status, "reason": reason, "message": message}
