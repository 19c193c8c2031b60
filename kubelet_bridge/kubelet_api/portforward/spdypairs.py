"""Port forwarding over a SPDY session: pairs of streams, each one connection, any number at once."""

import asyncio
import contextlib

import structlog

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.audit import Transfer
from kubelet_bridge.kubelet_api.portforward.pairs import (
    AlreadyAssigned,
    Pair,
    StreamType,
    port_of,
    refusal,
    request_id,
)
from kubelet_bridge.kubelet_api.portforward.relay import Relay
from kubelet_bridge.kubelet_api.portforward.target import Target
from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.session import SpdySession
from kubelet_bridge.kubelet_api.spdy.stream import SpdyStream

log = structlog.get_logger(__name__)

_PATIENCE = 30.0


class _PairClient:
    """A pair's streams as the client of a relay."""

    def __init__(self, data: SpdyStream, error: SpdyStream) -> None:
        self._data, self._error = data, error
        self.read, self.write = data.read, data.write

    async def guest_ended(self) -> None:
        """End both halves of ours. kubectl before 1.30 waits for that of the error stream before it ends its own."""
        await self._data.close_write()
        await self._error.close_write()


class SpdyForwarding:
    """Serves one session."""

    def __init__(self, session: SpdySession, target: Target, transfer: Transfer) -> None:
        self._session, self._target, self._transfer = session, target, transfer
        self._waiting: dict[str, Pair] = {}

    async def run(self) -> None:
        """Until the client has gone, or ended the session; then all connections are dropped."""
        async with asyncio.TaskGroup() as group:
            pairs: set[asyncio.Task[None]] = set()
            while (stream := await self._session.accept(self._admit)) is not None:
                name = request_id(stream)
                if (pair := self._waiting.get(name)) is None:
                    pair = self._waiting[name] = Pair(name)
                    task = group.create_task(self._serve(pair), name=f"port-forward: request {name[:32]}")
                    pairs.add(task)
                    task.add_done_callback(pairs.discard)
                await self._add(pair, stream)
            for task in pairs:
                task.cancel()

    def _admit(self, stream: SpdyStream) -> bool:
        why = refusal(stream.headers)
        if why is None and len(self._waiting) >= self._session.limits.streams:
            why = "too many streams wait for their other half"
        if why is not None:
            log.info("port-forward stream refused", reason=why)
        return why is None

    async def _add(self, pair: Pair, stream: SpdyStream) -> None:
        try:
            pair.add(stream)
        except AlreadyAssigned as error:
            await _tell(pair.error, f"error processing stream for request {pair.request_id}: {error}")
            stream.reset()
            return
        if pair.complete.is_set():
            del self._waiting[pair.request_id]

    async def _serve(self, pair: Pair) -> None:
        try:
            try:
                async with asyncio.timeout(self._session.limits.creation):
                    await pair.complete.wait()
            except TimeoutError:
                if self._waiting.get(pair.request_id) is pair:
                    del self._waiting[pair.request_id]
                await _tell(pair.error, f"(request={pair.request_id}) timed out waiting for streams")
            else:
                await self._forward(pair.streams[StreamType.DATA], pair.streams[StreamType.ERROR])
        finally:
            for stream in pair.streams.values():
                stream.reset()

    async def _forward(self, data: SpdyStream, error: SpdyStream) -> None:
        error.discard()
        port = port_of(data)
        try:
            async with self._target.ports.connect(port) as guest:
                await Relay(_PairClient(data, error), guest, self._transfer, _PATIENCE).run()
            await error.close_write()
        except StreamEnded:
            await error.close_write()
        except BridgeError as fault:
            log.info("port-forward failed", port=port, error=fault.message)
            await _tell(error, self._target.failure(port, fault))


async def _tell(error: SpdyStream | None, message: str) -> None:
    """Write to a pair's error stream, where there is one and the client has not dropped it."""
    if error is not None:
        with contextlib.suppress(StreamEnded):
            await error.write(message.encode(errors="replace"))
