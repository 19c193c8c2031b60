"""Growing delays with jitter, so that many retries never fall on the same moment."""

import random


class Backoff:
    """Full-jitter exponential backoff: each delay is drawn from the upper half of the current step.

    Attributes:
        base: first step, seconds.
        cap: largest step, seconds. It never gives up.
    """

    def __init__(self, *, base: float, cap: float, factor: float = 2.0) -> None:
        self.base = base
        self.cap = cap
        self._factor = factor
        self._step = base

    def next(self) -> float:
        """The delay before the next try, in seconds."""
        delay = self._step * (0.5 + random.random() / 2)  # noqa: S311 - spreading, not secrecy
        self._step = min(self.cap, self._step * self._factor)
        return delay

    def reset(self) -> None:
        """Begin again at ``base``."""
        self._step = self.base
