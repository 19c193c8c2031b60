"""The logs of Pods for the kubelet API: from the log store, where an agent runs the containers, else the console's."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from kubelet_bridge.daemon.inside.finder import CachedPod
from kubelet_bridge.guest.logs import LogStore, OpenLog
from kubelet_bridge.kubelet_api.logs.formatting import LogFormatter
from kubelet_bridge.kubelet_api.logs.options import LogOptions
from kubelet_bridge.kubelet_api.logs.refused import LogsRefused, quoted
from kubelet_bridge.kubelet_api.logs.selection import Run, choose
from kubelet_bridge.kubelet_api.ports import ContainerRef
from kubelet_bridge.model.core import Pod
from kubelet_bridge.translate.containerid import is_machine
from kubelet_bridge.translate.places import FindIntent, place

_LOOK_AGAIN = 1.0
"""Seconds after which whoever follows looks whether the container runs, should nobody tell it."""
_SETTLE = 0.3
"""Seconds without a record after which the log of a container that has ended is complete: the end is told at once."""

OpenConsole = Callable[[Pod, ContainerRef, Run, LogOptions], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""The log of a machine that is the container."""


class PodLogs:
    """``open`` is the kubelet API's ``OpenLog``. Asks nobody but for consoles: logs flow without an API server."""

    def __init__(self, pods: CachedPod, intents: FindIntent, store: LogStore, console: OpenConsole) -> None:
        self._pods, self._intents, self._store, self._console = pods, intents, store, console

    @asynccontextmanager
    async def open(self, ref: ContainerRef, options: LogOptions) -> AsyncIterator[AsyncIterator[bytes]]:
        """As in ``kubelet_api.logs.handler``."""
        pod = self._pods(ref.namespace, ref.pod)
        if pod is None:
            raise LogsRefused(404, f"pod {quoted(ref.pod)} does not exist")
        run = choose(pod, ref.container, previous=options.previous)
        if is_machine(run.container_id):
            async with self._console(pod, ref, run, options) as log:
                yield log
            return
        found = place(pod, ref.container, self._intents)
        uid = found.uid if found is not None else pod.metadata.uid
        since, follow = options.since(time.time_ns()), options.follow and run.running
        attempt = await self._attempt(uid, ref.container, run)
        async with self._store.open(
            uid, ref.container, attempt, since=since, tail=options.tail_lines, follow=follow
        ) as kept:
            formatter = LogFormatter(options, since=since)
            followed = _Followed(self._store, uid, lambda: self._is_over(pod, ref.container, run))
            async with aclosing(followed.pieces(kept, formatter) if follow else _pieces(kept, formatter)) as pieces:
                yield pieces

    async def _attempt(self, uid: str, container: str, run: Run) -> int:
        if len(run.attempts) == 1:
            return run.attempts[0]
        kept = await self._store.attempts(uid, container)
        return next((one for one in run.attempts if one in kept), run.attempts[0])

    def _is_over(self, pod: Pod, container: str, run: Run) -> bool:
        """Whether nothing more is written in this run. An agent that is away proves nothing."""
        now = self._pods(pod.metadata.namespace, pod.metadata.name)
        if now is None or now.metadata.uid != pod.metadata.uid:
            return True
        try:
            return choose(now, container) != run
        except LogsRefused:
            return True


async def _pieces(kept: OpenLog, formatter: LogFormatter) -> AsyncGenerator[bytes, None]:
    while not formatter.full and (piece := await kept.read(formatter.feed)) is not None:
        yield piece


class _Followed:
    """A log that grows until ``is_over`` and quiet."""

    def __init__(self, store: LogStore, uid: str, is_over: Callable[[], bool]) -> None:
        self._store, self._uid, self._is_over = store, uid, is_over

    async def pieces(self, kept: OpenLog, formatter: LogFormatter) -> AsyncGenerator[bytes, None]:
        """Until the container has ended and everything was given out."""
        quiet = False
        while not formatter.full:
            news, over = (
                self._store.news(self._uid),
                self._is_over(),
            )  # both before reading, or the last would be missed
            piece = await kept.read(formatter.feed)
            if piece is not None:
                yield piece
                quiet = False
            elif over and quiet:
                return
            else:
                quiet = not await _happens(news, _SETTLE if over else _LOOK_AGAIN) and over


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
