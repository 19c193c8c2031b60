"""What a series of probe results means: thresholds, delays and holds. Pure.

The rules are those of pkg/kubelet/prober/worker.go (doProbe): until told otherwise a container is live and not ready,
and it is not started while it has a startup probe that has not succeeded.
"""

from __future__ import annotations

import enum

from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Kind(enum.Enum):
    """Which of a container's probes; the value is how events name it, in small letters."""

    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"

    @property
    def title(self) -> str:
        """As an event begins."""
        return self.value.capitalize()


class Verdicts:
    """One probe of one run. ``take`` each result; ``due`` says whether there is anything to probe for."""

    def __init__(self, kind: Kind, probe: pb.Probe) -> None:
        self.kind = kind
        self._initial_delay = float(probe.initial_delay_seconds)
        self._thresholds = {True: max(1, probe.success_threshold), False: max(1, probe.failure_threshold)}
        self._last: bool | None = None
        self._count = 0
        self._verdict: bool | None = True if kind is Kind.LIVENESS else None
        self._on_hold = False

    def due(self, age: float, *, started: bool) -> bool:
        """Whether to probe a run of this age (seconds): only the startup probe before it is started, not it after."""
        if self._on_hold or int(age) < self._initial_delay:
            return False
        return started is not (self.kind is Kind.STARTUP)

    def take(self, success: bool) -> bool | None:
        """One result; the verdict if it is another one now, else None.

        After a failed liveness and after any startup verdict there is nothing more to be asked of this run.
        """
        self._count = self._count + 1 if success is self._last else 1
        self._last = success
        if self._count < self._thresholds[success]:
            return None
        changed = success is not self._verdict
        self._verdict = success
        if self.kind is Kind.STARTUP or (self.kind is Kind.LIVENESS and not success):
            self._on_hold = True
        return success if changed else None
