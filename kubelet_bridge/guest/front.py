"""In front of the servers that guests dial: accepts connections, bounds them, passes their bytes on, still encrypted.

gRPC has no limits per address, and neither server knows which of its connections come to nothing. Here every connection
has a deadline: what has not been welcomed by then ends, whether it is silent in TLS, in HTTP/2 or in our protocol. The
servers themselves listen on Unix sockets. Our end of each carries a name of its own, by which ``connection`` finds it.
"""

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import structlog

from kubelet_bridge.aio.listening import listening_socket
from kubelet_bridge.guest.limits import Buckets, Clock, FrontLimits, TokenBucket
from kubelet_bridge.guest.ports import Counters

log = structlog.get_logger(__name__)

_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


class _Side(asyncio.Protocol):
    """One end of a connection; what it receives goes to the other end, as fast as that takes it."""

    def __init__(self, connection: "Connection", *, outside: bool) -> None:
        self._connection, self._outside = connection, outside
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._holds = set[str]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.other is None or self.other.transport is None:
            self.hold("other")
        else:
            self.other.release("other")

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None or other.transport is None:
            return
        other.transport.write(data)
        if self._outside and (delay := self._connection.charge(len(data))):
            self.hold("rate")
            asyncio.get_running_loop().call_later(delay, self.release, "rate")

    def eof_received(self) -> bool:
        if self.other is not None and self.other.transport is not None and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.hold("slow")

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.release("slow")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._connection.close()

    def hold(self, why: str) -> None:
        """Receive nothing for now."""
        self._holds.add(why)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def release(self, why: str) -> None:
        """Go on, unless there is another reason not to."""
        self._holds.discard(why)
        if not self._holds and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()


class Connection:
    """One of a guest's, or of a stranger's; ``peer`` is the address it comes from."""

    def __init__(self, front: "Front", peer: str, name: str, limits: FrontLimits, clock: Clock) -> None:
        self.peer, self.name = peer, name
        self._front, self._limits = front, limits
        self._bytes = TokenBucket(limits.bytes, clock)
        self._unproven = limits.unproven_bytes
        self._welcomed = 0
        self._closed = False
        self.outside, self.inside = _Side(self, outside=True), _Side(self, outside=False)
        self.outside.other, self.inside.other = self.inside, self.outside
        self._deadline = self._set_deadline()

    @property
    def proven(self) -> bool:
        """Whether a guest that was welcomed speaks on it."""
        return self._welcomed > 0

    @contextmanager
    def welcomed(self) -> Iterator[None]:
        """For as long as a guest that was welcomed speaks on it."""
        self._front.proven(self, +1)
        self._welcomed += 1
        self._deadline.cancel()
        try:
            yield
        finally:
            self._welcomed -= 1
            self._front.proven(self, -1)
            if not self._welcomed:
                self._unproven = self._limits.unproven_bytes
                self._deadline = self._set_deadline()

    def charge(self, count: int) -> float:
        """So much was received: the seconds to wait before more is."""
        if not self._welcomed:
            self._unproven -= count
            if self._unproven < 0:
                self._front.refuse("bytes", self.peer)
                self.abort()
        return self._bytes.take(count)

    def close(self) -> None:
        """Either end is gone: what was received by then is still passed on."""
        self._end(gently=True)

    def abort(self) -> None:
        """At once."""
        self._end(gently=False)

    def _end(self, *, gently: bool) -> None:
        for side in (self.outside, self.inside):
            if side.transport is not None and not gently:
                side.transport.abort()
            elif side.transport is not None:
                side.transport.close()
        if not self._closed:
            self._closed = True
            self._deadline.cancel()
            self._front.gone(self)

    def _expire(self) -> None:
        if not self._welcomed and not self._closed:
            self._front.refuse("deadline", self.peer)
            self.abort()

    def _set_deadline(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._limits.unproven_seconds, self._expire)


class Front:
    """An async context manager that listens; ``run`` accepts.

    Args:
        target: the Unix socket of the server behind.

    Attributes:
        target: likewise, of connections that begin from now on.
        port: the one we listen on, known once entered (0 lets the kernel choose).
    """

    def __init__(
        self, host: str, port: int, target: Path, limits: FrontLimits, clock: Clock, counters: Counters
    ) -> None:
        self.host, self.port = host, port
        self.target, self._limits, self._clock, self._counters = target, limits, clock, counters
        self._accepted = Buckets(limits.accepted, clock)
        self._connections: dict[str, Connection] = {}
        self._unproven: Counter[str] = Counter()
        self._prefix = f"kubelet-bridge/{secrets.token_hex(8)}"
        self._serial = 0
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        """Listen. Raises ``SettingsError``."""
        self._socket = listening_socket(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for connection in list(self._connections.values()):
            connection.abort()
        await asyncio.sleep(0)  # the transports close in the loop's next turn

    def __len__(self) -> int:
        return len(self._connections)

    def connection(self, name: str) -> Connection | None:
        """The connection whose inner end has this name."""
        return self._connections.get(name)

    async def run(self) -> None:
        """Accept connections for ever."""
        if self._socket is None:
            raise RuntimeError("the front is not listening")
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, address = await loop.sock_accept(self._socket)
                except OSError as error:  # out of file descriptors, or the client has gone again
                    log.warning("a connection could not be accepted", error=str(error))
                    await asyncio.sleep(0.1)
                    continue
                if (connection := self.admit(address[0])) is None:
                    accepted.close()
                else:
                    group.create_task(self.join(connection, accepted), name=f"guest connection {connection.peer}")

    def admit(self, peer: str) -> Connection | None:
        """A connection for one more from ``peer``, if it may."""
        reason = ""
        if not self._accepted.try_take(peer):
            reason = "rate"
        elif len(self._connections) >= self._limits.total:
            reason = "connections"
        elif self._unproven[peer] >= self._limits.per_peer:
            reason = "connections_of_peer"
        if reason:
            self.refuse(reason, peer)
            return None
        self._serial += 1
        connection = Connection(self, peer, f"{self._prefix}/{self._serial}", self._limits, self._clock)
        self._connections[connection.name] = connection
        self._unproven[peer] += 1
        return connection

    async def join(self, connection: Connection, accepted: socket.socket) -> None:
        """Pass on what comes by ``accepted``, which is ours from now on; returns when both ends stand."""
        loop = asyncio.get_running_loop()
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            _keep_alive(accepted)
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            inner.setblocking(False)
            inner.bind(f"\0{connection.name}")
            await loop.sock_connect(inner, str(self.target))
            await loop.create_connection(lambda: connection.inside, sock=inner)
            await loop.connect_accepted_socket(lambda: connection.outside, accepted)
        except OSError as error:
            log.warning("a guest's connection cannot be passed on", error=str(error))
            inner.close()
            accepted.close()
            connection.abort()
        except asyncio.CancelledError:
            inner.close()
            accepted.close()
            raise

    def proven(self, connection: Connection, change: int) -> None:
        """A guest was welcomed on it, or is gone: only those that prove nothing count against their address."""
        if not connection.proven and connection.name in self._connections:
            self._count(connection.peer, -change)

    def gone(self, connection: Connection) -> None:
        """It has ended."""
        if self._connections.pop(connection.name, None) is not None and not connection.proven:
            self._count(connection.peer, -1)

    def refuse(self, reason: str, peer: str) -> None:
        """Count it; what is logged for each can be used to fill a disk."""
        self._counters.refused(reason)
        log.debug("guest connection refused", reason=reason, peer=peer)

    def _count(self, peer: str, change: int) -> None:
        self._unproven[peer] += change
        if self._unproven[peer] <= 0:
            del self._unproven[peer]


def _keep_alive(accepted: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # Linux has them all
            accepted.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
