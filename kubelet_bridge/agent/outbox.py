"""What is to be sent, in order of urgency: however much logs a guest has, its heartbeats and exec sessions go first."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from kubelet_bridge.agent.v1 import agent_pb2 as pb

URGENT, STREAMS, BULK = range(3)
_LANES: dict[str, int] = {
    "stream_data": STREAMS,
    "stream_opened": STREAMS,
    "stream_window": STREAMS,
    "stream_closed": STREAMS,
    "logs": BULK,
    "metrics": BULK,
}
_ROOM = {URGENT: 1024 * 1024, STREAMS: 256 * 1024, BULK: 128 * 1024}
"""Bytes that may wait in each lane before who sends has to wait."""
_TURNS = 8
"""After so many messages of streams in a row one of the bulk goes, so that neither starves."""


class _Waiting(NamedTuple):
    wake: asyncio.Future[None]
    lane: int


class Outbox:
    """The queue of one connection; filled by everybody, emptied by one writer."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of the largest message that the bridge takes."""
        self._limit = limit
        self._lanes: list[deque[bytes]] = [deque(), deque(), deque()]
        self._bytes = [0, 0, 0]
        self._waiting: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._closed = False
        self._streams_in_a_row = 0

    async def put(self, message: pb.GuestMessage) -> None:
        """Queue it, waiting for room in its lane.

        Raises:
            ConnectionError: the connection ended first.
            ValueError: it is larger than the bridge takes.
        """
        lane = lane_of(message)
        while not self._closed and self._bytes[lane] >= _ROOM[lane]:
            waiting = _Waiting(asyncio.get_running_loop().create_future(), lane)
            self._waiting.append(waiting)
            await waiting.wake
        self.put_now(message)

    def put_now(self, message: pb.GuestMessage) -> None:
        """Queue it whatever room there is; raises what ``put`` raises."""
        if self._closed:
            raise ConnectionError("there is no connection to the bridge")
        data = message.SerializeToString()
        if len(data) > self._limit:
            raise ValueError(f"{message.WhichOneof('body')} of {len(data)} bytes is more than {self._limit}")
        lane = lane_of(message)
        self._lanes[lane].append(data)
        self._bytes[lane] += len(data)
        self._filled.set()

    async def take(self) -> bytes:
        """The most urgent message."""
        while True:
            lane = self._next_lane()
            if lane is not None:
                data = self._lanes[lane].popleft()
                self._bytes[lane] -= len(data)
                self._wake(lane)
                return data
            self._filled.clear()
            await self._filled.wait()

    def close(self) -> None:
        """Nothing more is sent: who waits is told so."""
        self._closed = True
        for waiting in self._waiting:
            if not waiting.wake.done():
                waiting.wake.set_result(None)
        self._waiting.clear()

    def _next_lane(self) -> int | None:
        if self._lanes[URGENT]:
            return URGENT
        if self._lanes[STREAMS] and (self._streams_in_a_row < _TURNS or not self._lanes[BULK]):
            self._streams_in_a_row += 1
            return STREAMS
        self._streams_in_a_row = 0
        return BULK if self._lanes[BULK] else None

    def _wake(self, lane: int) -> None:
        """Those who wait for this lane, in their order; each looks again whether there is room."""
        for waiting in [one for one in self._waiting if one.lane == lane]:
            self._waiting.remove(waiting)
            if not waiting.wake.done():
                waiting.wake.set_result(None)


def lane_of(message: pb.GuestMessage) -> int:
    """Which lane a message belongs to; those about one stream share one, so they stay in order."""
    return _LANES.get(message.WhichOneof("body") or "", URGENT)
