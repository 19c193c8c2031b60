"""Those connected to a shim: they wait for the end, or are attached."""

from __future__ import annotations

import socket
import time

from kubelet_bridge.agent.host import wire

# So much output waits for a slow client before the command has to wait too; and so long does the command wait.
PENDING = 256 * 1024
PATIENCE_SECONDS = 10.0
_CHUNK = 64 * 1024


class Client:
    """One connection. Every frame that came is in ``frames`` until it is taken."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.attached = False
        self.typed = False
        self.gone = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._stuck_since = 0.0

    @property
    def descriptor(self) -> int:
        """For ``poll``."""
        return self.connection.fileno()

    @property
    def waiting(self) -> bool:
        """There is output that it has not taken."""
        return bool(self._outgoing)

    def full(self) -> bool:
        """Whether the command must wait for it; one that takes nothing for too long is let go."""
        if len(self._outgoing) < PENDING:
            return False
        if time.monotonic() - self._stuck_since > PATIENCE_SECONDS:
            self.gone = True
        return not self.gone

    def send(self, kind: bytes, data: bytes) -> None:
        """Queue output."""
        if not self._outgoing:
            self._stuck_since = time.monotonic()
        self._outgoing += wire.frame(kind, data)

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            sent = self.connection.send(self._outgoing[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            return
        if sent:
            del self._outgoing[:sent]
            self._stuck_since = time.monotonic()

    def receive(self) -> None:
        """Read what came."""
        try:
            data = self.connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._incoming += data
        self.gone = self.gone or not data

    def take(self) -> tuple[bytes, bytes] | None:
        """The next frame that has come; one who sends something else is let go."""
        try:
            return wire.take(self._incoming)
        except wire.Broken:
            self.gone = True
            return None
