"""What one guest, and one address, may cost the bridge."""

from collections import OrderedDict
from collections.abc import Callable

import msgspec

KIB = 1024
MIB = 1024 * KIB


class Rate(msgspec.Struct, frozen=True):
    """So many a second on average, and so many at once."""

    per_second: float
    burst: float


class FrontLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of connections, before anybody knows who it is.

    Attributes:
        total: connections altogether.
        per_peer: connections of one address that have not been welcomed.
        accepted: how often one address may connect.
        unproven_bytes: what may be said without having been welcomed.
        unproven_seconds: for how long a connection may stand without a welcome.
        bytes: what one connection may send, whatever it is.
    """

    total: int = 8192
    per_peer: int = 64
    accepted: Rate = Rate(20.0, 128.0)
    unproven_bytes: int = 256 * KIB
    unproven_seconds: float = 15.0
    bytes: Rate = Rate(256.0 * MIB, 64.0 * MIB)


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of a guest that has been welcomed.

    Attributes:
        message_bytes: the largest message taken.
        hello_seconds: for the first message of a stream.
        heartbeat_seconds: how often the agent is to say that it lives.
        silence_seconds: without a word for so long, the guest counts as gone.
        metrics_seconds: how often it is to send figures.
        write_seconds: a guest that takes so long to read one message counts as gone.
        messages: how many messages it may send, those of exec, attach and forwarded connections not counted.
        pieces: how many of those, whose bytes have windows.
        bytes: what the other messages may hold.
        events: how many events are recorded; more are dropped.
        welcomes: how often one Pod's agent may connect.
        failures: how often one address may fail to introduce itself before it is told to come back later.
        streams: exec, attach and forwarded connections open at once.
        window: bytes of one stream on their way in each direction.
        outbox_bytes: what may wait to be sent before writers of streams wait as well.
    """

    message_bytes: int = MIB
    hello_seconds: float = 10.0
    heartbeat_seconds: float = 10.0
    silence_seconds: float = 35.0
    metrics_seconds: float = 15.0
    write_seconds: float = 30.0
    messages: Rate = Rate(100.0, 500.0)
    pieces: Rate = Rate(4000.0, 8000.0)
    bytes: Rate = Rate(4.0 * MIB, 8.0 * MIB)
    events: Rate = Rate(1.0, 50.0)
    welcomes: Rate = Rate(0.2, 10.0)
    failures: Rate = Rate(0.5, 20.0)
    streams: int = 256
    window: int = 256 * KIB
    outbox_bytes: int = 4 * MIB


Clock = Callable[[], float]
"""Seconds that only grow."""


class TokenBucket:
    """Tells how long to wait; what was taken on credit has to be paid back by waiting."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._tokens, self._at = rate.burst, clock()

    def take(self, amount: float = 1.0) -> float:
        """Take ``amount`` in any case; the seconds to wait before going on, 0 when there was enough."""
        self._fill()
        self._tokens -= amount
        return max(0.0, -self._tokens / self._rate.per_second)

    def try_take(self, amount: float = 1.0) -> bool:
        """Take ``amount`` only if there is enough."""
        self._fill()
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._rate.burst, self._tokens + (now - self._at) * self._rate.per_second)
        self._at = now


class Buckets:
    """One bucket for each key, of the keys seen last."""

    def __init__(self, rate: Rate, clock: Clock, *, remembered: int = 4096) -> None:
        self._rate, self._clock, self._remembered = rate, clock, remembered
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def try_take(self, key: str) -> bool:
        """Whether ``key`` has one left, which it then has no more."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._clock)
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket.try_take()
