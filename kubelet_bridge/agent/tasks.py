"""Tasks that somebody owns. Python 3.8 has no ``asyncio.TaskGroup``; this is what the agent needs of it."""

from __future__ import annotations

import asyncio
from typing import Any, Coroutine, Iterable

AGAIN_SECONDS = 10.0
"""What has not ended by then is cancelled once more. Nobody takes longer to clean up."""


def start(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task; whoever starts it must keep it, and end it."""
    return asyncio.get_running_loop().create_task(work, name=name)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until all have ended, whatever they end with.

    Before Python 3.12 ``wait_for`` loses a cancellation that comes together with what it waits for: hence again.
    """
    ours = left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    for task in ours:
        if not task.cancelled():
            task.exception()  # it has been looked at


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for it, but not longer; whether it has happened. Unlike ``wait_for`` it never loses a cancellation."""
    waiting = start(event.wait(), "waiting")
    try:
        done, _ = await asyncio.wait({waiting}, timeout=max(0.0, seconds))
        return bool(done)
    finally:
        waiting.cancel()


async def until_one_ends(*work: Coroutine[Any, Any, Any]) -> None:
    """Run them side by side until the first one ends, then cancel the others; an error of the first is raised."""
    loop = asyncio.get_running_loop()
    running: list[asyncio.Task[Any]] = [loop.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(running)


class Tasks:
    """Tasks of one owner, who ends them with itself."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run it beside the others. An error in it ends ``faulted``."""
        task = start(work, name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def faulted(self) -> None:
        """Wait for ever, or raise the first error of any of them."""
        await asyncio.shield(self._fault)

    async def close(self) -> None:
        """End all of them."""
        await end(list(self._running))
        if self._fault.done() and not self._fault.cancelled():
            self._fault.exception()  # it was raised by `faulted`, or nobody waits for it any more
        self._fault.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._fault.done():
            self._fault.set_exception(error)
