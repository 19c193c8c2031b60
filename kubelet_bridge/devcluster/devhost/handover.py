"""How a scripted guest travels from host to host: its state as one JSON document over TCP, answered by ``ok``."""

import asyncio
import hmac
from collections.abc import Callable

import msgspec

from kubelet_bridge.devcluster.devhost.runtime import GuestState
from kubelet_bridge.errors import Transient

_ANSWER = b"ok"
_LIMIT = 64 * 1024
_TIMEOUT = 10.0


class _Document(msgspec.Struct, frozen=True):
    secret: str
    state: GuestState


class Incoming:
    """A listener for one guest."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port = int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._server.close()


class _Receiver(asyncio.Protocol):
    """Collects one document until the sender has said all."""

    def __init__(self, secret: str, arrived: Callable[[GuestState], None]) -> None:
        self._secret = secret
        self._arrived = arrived
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A piece of the document."""
        self._data += data
        if len(self._data) > _LIMIT and self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """The document is whole: take the guest if the sender is the one we wait for."""
        try:
            document = msgspec.json.decode(self._data, type=_Document)
        except msgspec.DecodeError:
            return False
        if self._transport is not None and hmac.compare_digest(document.secret.encode(), self._secret.encode()):
            self._arrived(document.state)
            self._transport.write(_ANSWER)
        return False


async def listen(address: str, secret: str, arrived: Callable[[GuestState], None]) -> Incoming:
    """Wait on a free port of ``address``; ``arrived`` gets the state of the guest whose sender knows ``secret``."""
    loop = asyncio.get_running_loop()
    return Incoming(await loop.create_server(lambda: _Receiver(secret, arrived), address, 0))


async def send(address: str, port: int, secret: str, state: GuestState) -> None:
    """Send a guest's state.

    Raises:
        Transient: nobody took it.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(msgspec.json.encode(_Document(secret, state)))
                writer.write_eof()
                answer = await reader.read(len(_ANSWER))
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise Transient(f"sending the guest to {address}:{port}: {error!r}") from error
    if answer != _ANSWER:
        raise Transient(f"{address}:{port} did not take the guest")
