"""Sends what the followed logs hold, one batch after the other, and never more than the bridge wants unacknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Callable, Protocol, TypeVar

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.logs.checkpoint import Checkpoint, RunKey, load, save
from kubelet_bridge.agent.logs.run import OVERHEAD, FollowedRun
from kubelet_bridge.agent.telling import tell
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

WINDOW = 1024 * 1024
"""Bytes on their way that are not acknowledged (agent.proto, LogAck)."""
BATCH = 48 * 1024
BACKLOG = 64 * 1024 * 1024
"""Bytes of one run that may wait; of more the oldest records are given up."""
ALL_BACKLOG = 4 * BACKLOG
"""Bytes that may wait in all; of more the oldest ended runs keep only their last ``ENDED_KEEP``."""
ENDED_KEEP = 64 * 1024
_QUICK, _SLOW = 0.05, 0.5
"""Seconds between two looks at the files: while they grow, and when nothing has been new for a while."""
_SAVE_SECONDS = 1.0
_TIDY_SECONDS = 10.0
_T = TypeVar("_T")


class Wire(Protocol):
    """What of a session is needed here."""

    @property
    def connected(self) -> bool:
        """Whether the stream stands."""

    async def send(self, message: pb.GuestMessage) -> None:
        """As ``link.Link``."""

    def on(self, body: str, handler: Callable[[Any], None]) -> None:
        """As ``session.Session``."""


class Shipper:
    """A ``link.Logs``.

    Files are only touched by ``run``; what comes from outside meanwhile is noted and taken up at its next round.
    """

    def __init__(self, wire: Wire, path: Path, backlog: int = BACKLOG) -> None:
        """``path``: where it is kept how far the bridge has what."""
        self._wire = wire
        self._path = path
        self._backlog = backlog
        self._runs: dict[RunKey, FollowedRun] = {}
        self._asked: dict[RunKey, str] = {}
        self._ended: set[RunKey] = set()
        self._arrived: dict[RunKey, int] = {}
        self._new_connection = False
        self._acks: dict[RunKey, int] = {}
        self._wake = asyncio.Event()
        self._round_over = asyncio.Event()
        self._job: asyncio.Task[Any] | None = None
        self._unsaved = False
        self._saved_at = self._tidied_at = 0.0
        wire.on("welcome", self._welcomed)
        wire.on("log_ack", self._acknowledged)

    # ------------------------------------------------------------------------------------------ noted

    def follow(self, container: str, attempt: int, path: str) -> None:
        """As ``link.Logs``."""
        self._asked[RunKey(container, attempt)] = path
        self._wake.set()

    async def ended(self, container: str, attempt: int) -> None:
        """As ``link.Logs``. Without a connection it does not wait: the file is the spool."""
        key = RunKey(container, attempt)
        self._ended.add(key)
        self._wake.set()
        while self._wire.connected and not self._is_sent(key):
            self._round_over.clear()
            await self._round_over.wait()

    def _is_sent(self, key: RunKey) -> bool:
        """Whether all of an ended run's log is on its way, or has arrived."""
        run = self._runs.get(key)
        return key not in self._ended and key not in self._asked and (run is None or (run.ended and run.quiet))

    async def drained(self, limit: float) -> bool:
        """Wait until the bridge has all that is in the files now; False when not within ``limit`` seconds."""
        deadline = time.monotonic() + limit
        rounds = 0
        while time.monotonic() < deadline and self._wire.connected:
            self._round_over.clear()
            self._wake.set()
            rounds += await tasks.happens(self._round_over, deadline - time.monotonic())
            # The first round that ends may have begun before we were asked.
            if rounds > 1 and all(run.drained for run in self._runs.values()):
                return True
        return False

    def _welcomed(self, welcome: pb.Welcome) -> None:
        self._arrived = {RunKey(one.container, one.attempt): one.position for one in welcome.logs}
        self._new_connection = True
        self._acks.clear()
        self._wake.set()

    def _acknowledged(self, ack: pb.LogAck) -> None:
        self._acks[RunKey(ack.container, ack.attempt)] = ack.position
        self._wake.set()

    # ------------------------------------------------------------------------------------------ done

    async def run(self) -> None:
        """Send, for ever."""
        pause = _QUICK
        try:
            found = await self._apart(load, self._path)
            self._runs = {key: FollowedRun(key, checkpoint) for key, checkpoint in found.items()}
            while True:
                self._wake.clear()
                self._take_up()
                pause = _QUICK if await self._send_some() else min(pause * 1.5, _SLOW)
                await self._keep_order()
                self._round_over.set()
                await tasks.happens(self._wake, pause)
        finally:
            if self._job is not None:
                await asyncio.wait({self._job})  # a thread cannot be cancelled, and must not lose its file
            for run in self._runs.values():
                run.close()

    async def _apart(self, function: Callable[..., _T], *args: Any) -> _T:
        """In a thread, one at a time."""
        job = tasks.start(in_thread(function, *args), "logs")
        self._job = job
        result: _T = await asyncio.shield(job)
        return result

    def _take_up(self) -> None:
        """What was noted since the last round."""
        for key, path in self._asked.items():
            known = self._runs.get(key)
            if known is None or known.path != path:
                self._runs[key] = FollowedRun(key, Checkpoint(path))
                self._runs[key].rewind(self._arrived.get(key, 0))
                self._unsaved = True
        self._asked.clear()
        for key in self._ended & set(self._runs):
            self._unsaved = self._unsaved or not self._runs[key].ended
            self._runs[key].ended = True
            self._runs[key].quiet = False
        self._ended.clear()
        if self._new_connection:
            self._new_connection = False
            for key, run in self._runs.items():
                run.rewind(self._arrived.get(key, 0))
        for key, position in self._acks.items():
            if key in self._runs and self._runs[key].acknowledge(position):
                self._unsaved = True
        self._acks.clear()

    async def _send_some(self) -> bool:
        """A batch of each run that has something; whether any had."""
        any_sent = False
        for run in list(self._runs.values()):
            room = WINDOW - sum(one.in_flight for one in self._runs.values())
            if not self._wire.connected or self._new_connection or room < 2 * BATCH:
                break
            records = await self._read(run)
            if not records:
                continue
            any_sent = True
            try:
                await self._send(records)
            except ConnectionError:
                break  # what was read is read again after the next welcome
        return any_sent

    async def _read(self, run: FollowedRun) -> list[pb.LogRecord]:
        try:
            return await self._apart(run.read, BATCH)
        except OSError as error:
            tell(f"the log {run.path} cannot be read: {error}")
            return []

    async def _send(self, records: list[pb.LogRecord]) -> None:
        """Short lines make records larger than themselves, one long line makes many: hence by size."""
        batch, size = pb.LogBatch(), 0
        for record in records:
            if size >= BATCH:
                await self._wire.send(pb.GuestMessage(logs=batch))
                batch, size = pb.LogBatch(), 0
            batch.records.append(record)
            size += len(record.data) + OVERHEAD
        await self._wire.send(pb.GuestMessage(logs=batch))

    # ------------------------------------------------------------------------------------------ on this disk

    async def _keep_order(self) -> None:
        now = time.monotonic()
        if now - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = now
            await self._tidy()
        if self._unsaved and now - self._saved_at >= _SAVE_SECONDS:
            self._saved_at = now
            await self._save()

    async def _tidy(self) -> None:
        """Remove what has arrived, and give up what is too much."""
        room = ALL_BACKLOG - await self._apart(lambda: sum(run.waiting() for run in self._runs.values()))
        for key, run in sorted(self._runs.items(), key=lambda one: one[0].attempt):
            keep = ENDED_KEEP if room < 0 and run.ended else self._backlog
            before = await self._apart(run.waiting)
            lost = await self._apart(run.shorten, keep)
            if lost:
                self._unsaved = True
                room += before - await self._apart(run.waiting)
                tell(f"{lost} log records of container {key.container} are lost: too many wait for the bridge")
            if run.ended and run.drained and self._is_superseded(key):
                await self._apart(_remove, run)
                del self._runs[key]
                self._unsaved = True
            else:
                await self._apart(run.reclaim)

    def _is_superseded(self, key: RunKey) -> bool:
        return any(other.container == key.container and other.attempt > key.attempt for other in self._runs)

    async def _save(self) -> None:
        self._unsaved = False
        try:
            await self._apart(save, self._path, {key: run.checkpoint for key, run in self._runs.items()})
        except OSError as error:
            self._unsaved = True
            tell(f"how far the logs are cannot be written down: {error}")


def _remove(run: FollowedRun) -> None:
    """With the files that it was rotated to."""
    run.close()
    path = Path(run.path)
    for file in [path, *path.parent.glob(f"{path.name}.*")]:
        with contextlib.suppress(OSError):
            file.unlink()
