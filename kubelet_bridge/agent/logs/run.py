"""One followed run: its tail, what of it is on its way, and what the bridge has.

The file is read in a thread and the rest happens on the event loop, never both at once (``shipper`` sees to that).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from kubelet_bridge.agent.logs.checkpoint import Checkpoint, RunKey
from kubelet_bridge.agent.logs.holes import reclaim
from kubelet_bridge.agent.logs.tail import Numbered, Place, Tail
from kubelet_bridge.agent.v1 import agent_pb2 as pb

OVERHEAD = 64
"""Bytes of a record besides its data and its container's name, at most."""


class _Sent(NamedTuple):
    place: Place
    bytes: int


class FollowedRun:
    """Reads ahead of what is acknowledged, and goes back to it when the connection is lost.

    Attributes:
        quiet: there was nothing to read when it was looked at last.
    """

    def __init__(self, key: RunKey, checkpoint: Checkpoint) -> None:
        self.key = key
        self.path = checkpoint.path
        self.ended = checkpoint.ended
        self.acknowledged = checkpoint.place
        self.quiet = False
        self._tail = Tail(self.path, checkpoint.place)
        self._sent: deque[_Sent] = deque()
        self._arrived = self._known = self._last = checkpoint.arrived
        self._reclaimed = 0

    @property
    def checkpoint(self) -> Checkpoint:
        """What to keep of it."""
        return Checkpoint(self.path, self.acknowledged, self.ended, self._arrived)

    @property
    def in_flight(self) -> int:
        """Bytes sent that the bridge has not acknowledged."""
        return sum(one.bytes for one in self._sent)

    @property
    def drained(self) -> bool:
        """Whether the bridge has all that was in the file when it was looked at last."""
        return self.quiet and not self._sent

    def rewind(self, known: int) -> None:
        """A new connection, on whose other side everything up to position ``known`` has arrived."""
        self._sent.clear()
        self._known = self._last = max(known, self._arrived)
        self._tail.seek(self.acknowledged, self._known)
        self.quiet = False

    def read(self, limit: int) -> list[pb.LogRecord]:
        """The next records to send. What the bridge has already is read and left out. Blocks for the disk."""
        records: list[Numbered] = []
        while not records:
            self.quiet = not self._tail.changed()
            read = [] if self.quiet else self._tail.read(limit, end=self.ended)
            if not read:
                return []
            records = [one for one in read if one.position > self._known]
            if not records:
                self.acknowledged = self._tail.place
        made = [self._record(one) for one in records]
        size = sum(len(one.data) + len(self.key.container) + OVERHEAD for one in made)
        self._sent.append(_Sent(self._tail.place, size))
        return made

    def acknowledge(self, position: int) -> bool:
        """The bridge has everything up to ``position``; whether that moved the place to keep."""
        moved = False
        while self._sent and self._sent[0].place.position <= position:
            self.acknowledged = self._sent.popleft().place
            self._arrived = max(self._arrived, self.acknowledged.position)
            moved = True
        return moved

    def shorten(self, keep: int) -> int:
        """Give up the oldest records when more than ``keep`` bytes wait; how many that were. Blocks for the disk."""
        lost = 0
        while not self._sent:
            passed = self._tail.skip(keep)
            if not passed:
                break
            lost += passed
            self.acknowledged = self._tail.place
        return lost

    def waiting(self) -> int:
        """Bytes of the file that have not been read. Blocks for the disk."""
        return self._tail.backlog()

    def reclaim(self) -> None:
        """Give back the disk space of what nobody will read again; the file keeps its size and its newest part."""
        self._reclaimed = reclaim(self.path, self.acknowledged, self._reclaimed)

    def close(self) -> None:
        """Let go of the file."""
        self._tail.close()

    def _record(self, one: Numbered) -> pb.LogRecord:
        lost, self._last = one.position - self._last - 1, one.position
        return pb.LogRecord(
            container=self.key.container,
            attempt=self.key.attempt,
            position=one.position,
            time=one.line.time,
            stream=one.line.stream,
            data=one.line.data,
            partial=one.line.partial,
            lost=lost,
        )
