"""The QEMU Machine Protocol, and the guest agent's, which is the same without greeting and events: JSON, line by line.

Protocol: docs/interop/qmp-spec.rst and qga/qapi-schema.json in QEMU. Replies come in the order of the commands.
"""

import asyncio
import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubelet_bridge.errors import Transient

_LONGEST_LINE = 16 << 20
_TIMEOUT = 20.0
_DELIMITER = b"\xff"
"""The guest agent puts it before the answer to ``guest-sync-delimited``."""

EventListener = Callable[[str, dict[str, Any]], None]


class CommandFailed(Transient):
    """The other side refused a command; the message is its own."""


class Wire:
    """Bytes in, messages out. No I/O."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete now; what is no message is left out.

        Raises:
            ValueError: a line that does not end.
        """
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line without end")
        self._buffer = bytearray(rest)
        return [message for line in lines if (message := _decoded(line)) is not None]


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line.rpartition(_DELIMITER)[2])
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


class Connection(asyncio.Protocol):
    """One connection. ``lost`` is called once, when it is over, however that came."""

    def __init__(self, event: EventListener, lost: Callable[[], None]) -> None:
        self._event = event
        self._lost = lost
        self._wire = Wire()
        self._waiting: collections.deque[asyncio.Future[Any]] = collections.deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand out replies and events."""
        try:
            messages = self._wire.feed(data)
        except ValueError:
            self.close()
            return
        for message in messages:
            if "event" in message:
                self._event(str(message["event"]), message.get("data") or {})
            elif ("return" in message or "error" in message) and self._waiting:
                _settle(self._waiting.popleft(), message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for a reply waits in vain."""
        self._transport = None
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(Transient(f"the connection is gone: {exc or 'closed'}", reason="ConnectionLost"))
        self._lost()

    async def execute(self, command: str, arguments: dict[str, Any] | None = None, *, within: float = _TIMEOUT) -> Any:
        """What ``command`` returned.

        Raises:
            CommandFailed: the other side says so.
            Transient: there is no connection (any more), or no reply ``within`` so many seconds; it is closed then,
                for a late reply would be taken for another's.
        """
        if self._transport is None:
            raise Transient("not connected", reason="ConnectionLost")
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self._transport.write(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(within):
                return await reply
        except TimeoutError:
            self.close()
            raise Transient(f"{command}: no reply within {within:g} s", reason="Timeout") from None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def _settle(waiting: asyncio.Future[Any], message: dict[str, Any]) -> None:
    if waiting.done():
        return
    if "error" in message:
        error = message["error"]
        waiting.set_exception(CommandFailed(str(error.get("desc", error)), reason=str(error.get("class", "Error"))))
    else:
        waiting.set_result(message["return"])


async def connect(path: Path, event: EventListener, lost: Callable[[], None]) -> Connection:
    """A connection to the socket at ``path``. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(lambda: Connection(event, lost), str(path))
    return connection
