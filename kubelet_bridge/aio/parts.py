"""The life of a process made of parts: opened in order, run side by side, stopped together, closed in reverse."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any

from kubelet_bridge.aio.tasks import forever


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the process; either half may be missing.

    Attributes:
        open: entered before anything runs, left (in reverse order) after everything has stopped running.
        run: runs until it is cancelled; if it returns or raises, the whole process stops.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    run: Callable[[], Awaitable[None]] | None = None


class _Stop(Exception):
    """Ends the task group: before Python 3.15 it has no other way."""


async def run_parts(parts: Sequence[Part], stop: asyncio.Event) -> None:
    """Run ``parts`` until ``stop`` is set or one of them fails.

    Raises:
        BaseExceptionGroup: what the failed parts raised; the others were cancelled and everything was closed.
    """
    async with AsyncExitStack() as opened:
        for part in parts:
            if part.open is not None:
                await opened.enter_async_context(part.open())
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    if part.run is not None:
                        group.create_task(forever(part.name, part.run), name=part.name)
                await stop.wait()
                raise _Stop
        except* _Stop:
            pass
