"""Workers on a queue of keys: one idea of what to do when a key's work fails."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.aio.workqueue import WorkQueue
from kubelet_bridge.errors import ApiUnavailable, BridgeError, Conflict, NotFound

log = structlog.get_logger(__name__)

Key = TypeVar("Key", bound=Hashable)
_BASE, _CAP = 0.1, 10.0


class Workers(Generic[Key]):
    """Runs ``sync`` for the keys of ``queue``; a key whose work failed is tried again later, for ever."""

    def __init__(self, name: str, queue: WorkQueue[Key], sync: Callable[[Key], Awaitable[None]]) -> None:
        self._name = name
        self._queue = queue
        self._sync = sync
        self._backoffs: dict[Key, Backoff] = {}

    async def run(self) -> None:
        """One worker. Ends only by cancellation; run as many as there shall be."""
        while True:
            key, _ = await self._queue.get()
            try:
                await self._sync(key)
                self._backoffs.pop(key, None)
            except BridgeError as error:
                self._again(key, error)
            finally:
                self._queue.done(key)

    def _again(self, key: Key, error: BridgeError) -> None:
        delay = self._backoffs.setdefault(key, Backoff(base=_BASE, cap=_CAP)).next()
        # A conflict or an object that is gone is the normal race with the controllers; a watch event is on its way.
        level = log.debug if isinstance(error, (Conflict, NotFound, ApiUnavailable)) else log.warning
        level("will be tried again", worker=self._name, key=key, error=str(error), seconds=round(delay, 2))
        self._queue.add(key, delay=delay)
