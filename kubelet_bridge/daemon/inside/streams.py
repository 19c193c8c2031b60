"""A guest's streams as the kubelet API wants them."""

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.streams import GuestStream, StreamEnd
from kubelet_bridge.kubelet_api.ports import Ended, Output

_SIGNALLED = 128
"""A process that a signal has ended has this much and the signal's number as its exit code, as shells have it."""


class GuestProcess:
    """A ``ports.Process``: exec or attach."""

    def __init__(self, stream: GuestStream) -> None:
        self._stream = stream

    async def read(self) -> Output | None:
        """As in ``ports.Process``."""
        chunk = await self._stream.read()
        return None if chunk is None else Output(chunk.channel == pb.CHANNEL_STDERR, chunk.data)

    async def write(self, data: bytes) -> None:
        """As in ``ports.Process``."""
        await self._stream.write(data)

    async def close_stdin(self) -> None:
        """As in ``ports.Process``."""
        await self._stream.close_stdin()

    def resize(self, columns: int, rows: int) -> None:
        """As in ``ports.Process``."""
        self._stream.resize(columns, rows)

    async def result(self) -> Ended:
        """As in ``ports.Process``."""
        return ended(await self._stream.result())


class GuestConnection:
    """A ``ports.Connection``: a port on the guest's loopback."""

    def __init__(self, stream: GuestStream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """As in ``ports.Connection``."""
        chunk = await self._stream.read()
        return b"" if chunk is None else chunk.data

    async def write(self, data: bytes) -> None:
        """As in ``ports.Connection``."""
        await self._stream.write(data)

    async def write_eof(self) -> None:
        """As in ``ports.Connection``."""
        await self._stream.close_stdin()


def ended(end: StreamEnd) -> Ended:
    """How a process in a guest ended, as a client is told."""
    if end.error:
        return Ended(error=end.message or pb.StreamError.Name(pb.StreamError.ValueType(end.error)))
    return Ended((_SIGNALLED + end.signal if end.signal else end.exit_code) & 0xFF)
