"""One session with a serial console for all who look at it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.console.viewer import Scrollback, Viewer

log = structlog.get_logger(__name__)


class ByteStream(Protocol):
    """A session with a console. Raises ``ConnectionError`` when it breaks."""

    async def receive(self) -> bytes:
        """What comes next; empty at the end."""

    async def send(self, data: bytes) -> None:
        """Send all of it, waiting while the other side takes no more."""


Dial = Callable[[], AbstractAsyncContextManager[ByteStream]]
"""Makes a session; entering raises ``BridgeError``."""


class ConsoleLimits(msgspec.Struct, frozen=True):
    """What consoles cost.

    Attributes:
        scrollback: bytes of output that one who comes late is shown.
        behind: bytes of output that are kept for one who is slow.
        lost_after: seconds until a session that broke and cannot be had again is given up.
        again: seconds until it is tried again, at first and at most. Another's session ends ours: who takes it back at
            once takes it from somebody.
    """

    scrollback: int = 64 * 1024
    behind: int = 256 * 1024
    lost_after: float = 60.0
    again: tuple[float, float] = (1.0, 10.0)


class SharedConsole:
    """``run`` keeps the session, until it is cancelled or the console is lost."""

    def __init__(self, name: str, dial: Dial, limits: ConsoleLimits) -> None:
        self.name = name
        self._dial, self._limits = dial, limits
        self._viewers: set[Viewer] = set()
        self._scrollback = Scrollback(limits.scrollback)
        self._stream: ByteStream | None = None
        self._lost: BridgeError | None = None
        self._begun = False
        self._clock = asyncio.get_running_loop().time
        self._seen = 0.0  # when the last session ended
        self._changed = asyncio.Condition()
        self._writing = asyncio.Lock()

    @property
    def watched(self) -> bool:
        """Whether anybody looks at it."""
        return bool(self._viewers)

    @property
    def lost(self) -> bool:
        """Whether ``run`` gave up."""
        return self._lost is not None

    def enter(self) -> Viewer:
        """One more who looks; what was shown lately he is shown first. To be followed by ``leave``."""
        viewer = Viewer(self._limits.behind)
        if recent := self._scrollback.content:
            viewer.show(recent)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """He has gone."""
        self._viewers.discard(viewer)

    async def begun(self) -> None:
        """Wait until the session was there once. Raises why it could not be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._begun or self._lost is not None)
        if self._lost is not None:
            raise self._lost

    async def send(self, data: bytes) -> None:
        """Type, once there is a session; what is typed while one breaks is lost, as on any line.

        Raises:
            BridgeError: the console is lost.
        """
        async with self._writing:
            async with self._changed:
                await self._changed.wait_for(lambda: self._stream is not None or self._lost is not None)
            if self._stream is None:
                raise self._lost or AssertionError("neither there nor lost")
            try:
                await self._stream.send(data)
            except ConnectionError:
                log.debug("a console broke while it was typed on", console=self.name)

    async def run(self) -> None:
        """Dial, again and again while that helps; returns when the console is lost."""
        pause = Backoff(base=self._limits.again[0], cap=self._limits.again[1])
        while True:
            began = self._clock()
            if (error := await self._session()) is None:
                self._seen = self._clock()
                if self._seen - began > self._limits.lost_after:
                    pause.reset()
            elif not self._begun or self._clock() - self._seen > self._limits.lost_after:
                break
            await asyncio.sleep(pause.next())
        await self._give_up(error)

    async def _session(self) -> BridgeError | None:
        """One session to its end; why there was none."""
        try:
            async with self._dial() as stream:
                await self._follow(stream)
        except ConnectionError as error:
            log.debug("a console broke", console=self.name, error=str(error))
        except BridgeError as error:
            return error
        return None

    async def _follow(self, stream: ByteStream) -> None:
        async with self._changed:
            self._stream, self._begun = stream, True
            self._changed.notify_all()
        try:
            while data := await stream.receive():
                self._scrollback.add(data)
                for viewer in self._viewers:
                    viewer.show(data)
        finally:
            self._stream = None

    async def _give_up(self, error: BridgeError) -> None:
        async with self._changed:
            self._lost = error
            self._changed.notify_all()
        for viewer in self._viewers:
            viewer.fail(error)
