"""A queue of keys, as controllers need one: a key waits at most once, and one worker at a time holds it."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keyed, de-duplicating, delayed.

    A key added while it is being worked on is handed out again afterwards: no change is lost, and two workers never
    hold the same key. Order is by due time; one worker is woken for one key. One event loop; no locks.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0
        self._working: set[Key] = set()
        self._dirty: dict[Key, float] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Keys that wait, due or not."""
        return len(self._due) + len(self._dirty)

    @property
    def working(self) -> int:
        """Keys being worked on."""
        return len(self._working)

    def add(self, key: Key, *, delay: float = 0.0) -> None:
        """Ask for ``key`` to be worked on in ``delay`` seconds; an earlier request stands."""
        when = self._clock() + delay
        if key in self._working:
            self._dirty[key] = min(when, self._dirty.get(key, when))
        elif key not in self._due or when < self._due[key]:
            self._push(key, when)

    async def get(self) -> tuple[Key, float]:
        """The next due key, and for how many seconds it has been due. Give it back with ``done``."""
        while (taken := self._take()) is None:
            turn = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._attend()  # woken for a key and cancelled at once: somebody else has to take it
                raise
        return taken

    def done(self, key: Key) -> None:
        """The work on ``key`` has ended, whatever came of it."""
        self._working.discard(key)
        if (when := self._dirty.pop(key, None)) is not None:
            self._push(key, when)

    def _take(self) -> tuple[Key, float] | None:
        now = self._clock()
        taken = None
        if (when := self._next()) is not None and when <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._due[key]
            self._working.add(key)
            taken = key, now - when
        self._attend()
        return taken

    def _next(self) -> float | None:
        """When the first key is due; requests that were superseded by an earlier one are dropped on the way."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _push(self, key: Key, when: float) -> None:
        self._due[key] = when
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, key))
        self._attend()

    def _attend(self) -> None:
        """Wake one idle worker if a key is due, else set the timer for the first that will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (when := self._next()) is None:
            return
        wait = when - self._clock()
        if wait > 0:
            self._timer = asyncio.get_running_loop().call_later(wait, self._attend)
            return
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():
                turn.set_result(None)
                return
