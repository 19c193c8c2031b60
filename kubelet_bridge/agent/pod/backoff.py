"""How long a container that ended waits for its next start: the kubelet's crash-loop back-off, and its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubelet_bridge.agent.pod.record import Record

SECOND = 1_000_000_000
FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0
# An end that comes so long after the last start begins anew (client-go's flowcontrol.Backoff: twice the longest).
FORGOTTEN_SECONDS = 2 * LONGEST_SECONDS


def due(record: Record) -> int:
    """When an ended container may start again, in nanoseconds since the epoch; 0 means at once."""
    if record.end is None or not record.delay or record.replace or _forgotten(record):
        return 0
    return record.end.finished_at + int(record.delay * SECOND)


def after_start(record: Record, now: int) -> tuple[float, int]:
    """``delay`` and ``touched`` once a container whose record this was has been started again at ``now``.

    The very first start counts for nothing; the first restart is immediate and makes the next one wait ten seconds.
    """
    if record.end is None:
        return 0.0, 0
    if not record.delay or _forgotten(record):
        return FIRST_SECONDS, now
    return longer(record.delay), now


def longer(delay: float) -> float:
    """The delay after this one."""
    return min(2 * delay, LONGEST_SECONDS) if delay else FIRST_SECONDS


def in_words(seconds: float) -> str:
    """As Go prints a duration of whole seconds: ``10s``, ``1m20s``, ``5m0s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _forgotten(record: Record) -> bool:
    return record.end is not None and record.end.finished_at - record.touched > FORGOTTEN_SECONDS * SECOND
