"""Who is connected: how many at once, who takes too long to say anything, and who has to come again."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one client may cost us.

    Attributes:
        per_peer: connections from one address. API servers bring everybody's logs and exec: it must not be small.
        total: connections altogether.
        handshake: seconds for TLS.
        first_request: seconds from the handshake to a complete request head.
        idle: seconds between requests; longer than the 90 s of Go's clients, or they would run into our close. A whole
            answer is handed to the transport at once, so the time in which a client has to take it counts as well.
        stalled: seconds after which a stream ends whose client takes nothing of what waits for it; a kubelet's have as
            long.
        line: bytes of the request line. The command of ``kubectl exec`` travels in it.
        header: bytes of one header; tokens are headers.
        headers: their number.
        body: bytes of a request body.
    """

    per_peer: int = 1024
    total: int = 4096
    handshake: float = 10.0
    first_request: float = 10.0
    idle: float = 120.0
    stalled: float = 4 * 3600.0
    line: int = 256 * 1024
    header: int = 32 * 1024
    headers: int = 100
    body: int = 64 * 1024


@dataclass(eq=False)
class Connection:
    """One connection after its handshake."""

    transport: asyncio.Transport
    peer: str
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    last_request: bool = False
    waiting: int = 0
    waiting_since: float = 0.0

    @property
    def closed(self) -> bool:
        """Whether it has ended, or is about to."""
        return self.transport.is_closing()


class Connections:
    """All of them. Upgrades change a transport's protocol, so the transport itself is asked whether it is closed.

    Attributes:
        trust: changes with each ``close_idle``; a handshake that began with another has been judged by former rules.
    """

    def __init__(self, limits: Limits) -> None:
        self.trust = 0
        self.limits = limits
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self._shaking: Counter[str] = Counter()

    def admit(self, peer: str) -> bool:
        """Whether one more from ``peer`` may begin its handshake; if so, ``opened`` or ``failed`` must follow."""
        if self._full(peer):
            self.prune()
            if self._full(peer):
                return False
        self._shaking[peer] += 1
        return True

    def failed(self, peer: str) -> None:
        """Forget a handshake that came to nothing."""
        self._shaking[peer] -= 1
        if self._shaking[peer] <= 0:
            del self._shaking[peer]

    def opened(self, transport: asyncio.Transport, peer: str) -> Connection:
        """Note a finished handshake."""
        self.failed(peer)
        connection = self._open[transport] = Connection(transport, peer)
        return connection

    @contextmanager
    def serving(self, transport: asyncio.BaseTransport | None) -> Iterator[Connection | None]:
        """While a request on ``transport`` is served."""
        connection = self._open.get(transport) if transport is not None else None
        if connection is None:
            yield None
            return
        connection.spoken.set()
        connection.busy += 1
        try:
            yield connection
        finally:
            connection.busy -= 1

    def prune(self) -> None:
        """Forget the closed ones."""
        self._open = {transport: one for transport, one in self._open.items() if not one.closed}

    def abort_stalled(self, now: float) -> None:
        """End those whose client has taken nothing for too long; to be called every now and then."""
        for connection in self._open.values():
            if connection.closed:
                continue
            waiting = connection.transport.get_write_buffer_size()
            if waiting == 0 or waiting != connection.waiting:
                connection.waiting, connection.waiting_since = waiting, now
            elif now - connection.waiting_since >= self.limits.stalled:
                connection.transport.abort()

    def close_idle(self) -> None:
        """Close all on which no request is being served; the others close after it."""
        self.trust += 1
        for connection in self._open.values():
            connection.last_request = True
            if connection.busy == 0:
                connection.transport.close()

    def __len__(self) -> int:
        return len(self._open) + self._shaking.total()

    def _full(self, peer: str) -> bool:
        theirs = self._shaking[peer] + sum(one.peer == peer for one in self._open.values())
        return theirs >= self.limits.per_peer or len(self) >= self.limits.total
