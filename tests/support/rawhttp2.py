"""An HTTP/2 client that says what no library would."""

import asyncio
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from kubelet_bridge.model.guesttoken import SERVER_NAME

METHOD = "/kubelet_bridge.agent.v1.GuestBridge/Connect"
HEADERS = [
    (":method", "POST"), (":scheme", "https"), (":path", METHOD), (":authority", SERVER_NAME),
    ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip


def frame(payload: bytes, *, length: int | None = None, compressed: int = 0) -> bytes:
    """A gRPC message; ``length`` is what its head claims."""
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


class RawClient:
    """One connection. ``ended`` tells when the server has closed it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        configuration = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(configuration)
        self.h2.local_settings.enable_push = 0
        self.resets = 0
        self.received = 0
        self.trailers: list[dict[str, str]] = []

    @classmethod
    async def connect(cls, port: int, ca: bytes) -> "RawClient":
        context = ssl.create_default_context(cadata=ca.decode())
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME)
        client = cls(reader, writer)
        client.h2.initiate_connection()
        await client.flush()
        return client

    async def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def open(self, headers: list[tuple[str, str]] | None = None) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers or HEADERS)
        await self.flush()
        return stream

    def headers_frame(self, stream: int) -> bytes:
        """The beginning of a call, whatever the server has said about how many it takes."""
        block = self.h2.encoder.encode(HEADERS)
        return len(block).to_bytes(3, "big") + b"\x01\x04" + stream.to_bytes(4, "big") + block

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        await self.flush()

    async def pump(self, *, seconds: float = 0.2) -> bool:
        """Take in what comes; False when the server has closed."""
        try:
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(65536):
                    self._note(self.h2.receive_data(data))
                    await self.flush()
        except TimeoutError:
            return True
        except (OSError, h2.exceptions.ProtocolError):
            pass
        return False

    async def ended(self, *, seconds: float = 20.0) -> bool:
        return not await self.pump(seconds=seconds)

    def _note(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.received += len(event.data)
            elif isinstance(event, h2.events.StreamReset):
                self.resets += 1
            elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                self.trailers.append({_text(name): _text(value) for name, value in event.headers})

    @property
    def statuses(self) -> list[str]:
        return [one["grpc-status"] for one in self.trailers if "grpc-status" in one]

    def abort(self) -> None:
        """Vanish without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
