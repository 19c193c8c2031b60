"""Tasks that somebody owns: what runs for ever, what must be finished when all stops, what is done again and again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class PartEnded(RuntimeError):
    """Something that was to run as long as the process has returned."""


async def forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what must never end; a plain return is a fault like any other.

    Raises:
        PartEnded: ``run`` returned. What it raises itself passes through.
    """
    await run()
    raise PartEnded(f"{name} ended, though it runs for as long as the process")


async def close(name: str, closing: Coroutine[Any, Any, object], *, limit: float) -> None:
    """Finish ``closing`` even when the caller is cancelled meanwhile, but within ``limit`` seconds.

    A cancellation is raised again afterwards. Running out of time is only logged: the rest is to be closed as well.
    """

    async def bounded() -> None:
        try:
            async with asyncio.timeout(limit):
                await closing
        except TimeoutError:
            log.warning("gave up closing", part=name, after_seconds=limit)

    task = asyncio.get_running_loop().create_task(bounded(), name=f"close {name}")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})  # unlike awaiting the task, this does not pass our cancellation on to it
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        task.result()
        return
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error("closing failed", part=name, error=repr(fault))
    raise cancelled


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel ``task`` and wait until it has ended, also when the caller is cancelled meanwhile: that comes afterwards.

    What ``task`` raises is raised again; its being cancelled is what was wanted.
    """
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    if not task.cancelled():
        task.result()


async def every(
    interval: float,
    act: Callable[[], Awaitable[object]],
    *,
    jitter: float = 0.0,
    tolerate: tuple[type[Exception], ...] = (),
) -> None:
    """Await ``act`` for ever, with pauses of ``interval`` seconds, each longer by up to ``jitter`` (a fraction of it).

    Errors of the kinds in ``tolerate`` are logged and the next turn comes as usual; any other ends the loop.
    """
    while True:
        try:
            await act()
        except tolerate as error:
            log.warning("will be tried again", action=getattr(act, "__qualname__", repr(act)), error=str(error))
        await asyncio.sleep(interval * (1 + random.random() * jitter))  # noqa: S311 - spreading, not secrecy


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run all until the first ends, whose error is raised; then the others are cancelled and waited for."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
