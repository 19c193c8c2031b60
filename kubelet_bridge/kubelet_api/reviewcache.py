"""Answers of a reviewer, kept for a while: bounded in number, each question asked once at a time, few at once.

The last two keep a flood of invented tokens from becoming a flood of requests to the API server.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class ReviewCache(Generic[Answer]):
    """Keeps each answer for ``lifetime(answer)`` seconds, and at most the ``size`` most recently used."""

    def __init__(
        self, lifetime: Callable[[Answer], float], *, size: int = 4096, at_once: int = 32,
        clock: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self._lifetime = lifetime
        self._size = size
        self._slots = asyncio.Semaphore(at_once)
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._kept: OrderedDict[Hashable, tuple[Answer, float]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Future[Answer]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def kept(self, key: Hashable) -> Answer | None:
        """The answer that is kept and holds, or None; asks nobody."""
        kept = self._kept.get(key)
        if kept is None or self._clock() >= kept[1]:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The kept answer, else what ``ask`` says; what it raises goes to all who wait for it, and is not kept."""
        while True:
            kept = self._kept.get(key)
            if kept is not None and self._clock() < kept[1]:
                self._kept.move_to_end(key)
                return kept[0]
            if (pending := self._asking.get(key)) is None:
                return await self._ask(key, ask)
            try:
                return await asyncio.shield(pending)
            except asyncio.CancelledError:
                # Either we were cancelled, or whoever was asking was: then it is our turn to ask.
                task = asyncio.current_task()
                if not pending.cancelled() or (task is not None and task.cancelling()):
                    raise

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        future = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            async with self._slots:
                answer = await ask()
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # it may be that nobody else waits
            raise
        else:
            future.set_result(answer)
            self._keep(key, answer)
            return answer
        finally:
            del self._asking[key]

    def _keep(self, key: Hashable, answer: Answer) -> None:
        self._kept[key] = (answer, self._clock() + self._lifetime(answer))
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
