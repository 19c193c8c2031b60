"""One guest's logs on their way to the disk: taken in, written in batches, acknowledged when they are on the disk."""

import asyncio

import structlog

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.ending import Overrun, SessionEnd, Status
from kubelet_bridge.guest.limits import MIB
from kubelet_bridge.guest.logdisk import Appended
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.guest.outbox import Outbox
from kubelet_bridge.guest.ports import Counters

log = structlog.get_logger(__name__)

MOST_RUNS = 256
"""Runs of containers that one guest may ship the logs of at the same time; each costs a file."""
_WAITING_BYTES = 2 * MIB
"""More than an agent that keeps the rules ever sends without an acknowledgement (1 MiB)."""


class LogPump:
    """``put`` waits while too much waits to be written: then nothing more is read of that guest, and of no other."""

    def __init__(self, uid: str, store: LogStore, outbox: Outbox, counters: Counters) -> None:
        self._uid, self._store, self._outbox, self._counters = uid, store, outbox, counters
        self._waiting: list[pb.LogBatch] = []
        self._size = 0
        self._written: dict[tuple[str, int], pb.LogAck] = {}
        self._news, self._room, self._wrote = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def put(self, batch: pb.LogBatch, size: int) -> None:
        """Take a batch of ``size`` bytes. Raises ``Overrun``."""
        if len({(record.container, record.attempt) for record in batch.records}) > MOST_RUNS:
            raise Overrun("logs of too many containers at once")
        while self._size and self._size + size > _WAITING_BYTES:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(batch)
        self._size += size
        self._news.set()

    async def run(self) -> None:
        """Write and acknowledge for ever. Raises ``SessionEnd`` when the disk has lost what it had taken."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name=f"logs of {self._uid}: write")
            group.create_task(self._acknowledge(), name=f"logs of {self._uid}: acknowledge")

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batches, self._waiting = self._waiting, []
            records = [record for batch in batches for record in batch.records]
            if records:
                appended = await self._append(records)
                self._counters.log_bytes(appended.bytes)
                self._written |= {(ack.container, ack.attempt): ack for ack in appended.acks}
                self._wrote.set()
            self._size = sum(batch.ByteSize() for batch in self._waiting)
            self._room.set()

    async def _append(self, records: list[pb.LogRecord]) -> Appended:
        """Until the disk takes them; the guest keeps what is not acknowledged."""
        backoff = Backoff(base=0.5, cap=15.0)
        while True:
            try:
                return await self._store.append(self._uid, records)
            except Transient as error:
                delay = backoff.next()
                log.warning("logs wait for the disk", error=str(error), retry_in=round(delay, 1))
                await asyncio.sleep(delay)

    async def _acknowledge(self) -> None:
        while True:
            await self._wrote.wait()
            self._wrote.clear()
            written, self._written = self._written, {}
            try:
                await self._store.kept(self._uid)
            except Transient as error:  # it begins anew after what is there
                raise SessionEnd(Status.UNAVAILABLE, "the logs cannot be kept now") from error
            for key, ack in written.items():
                await self._outbox.send(pb.BridgeMessage(log_ack=ack), key=("log", *key))
