"""The consoles that somebody looks at."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.console.shared import ConsoleLimits, Dial, SharedConsole
from kubelet_bridge.kubelet_api.console.viewer import Viewer

DialConsole = Callable[[str, str], Dial]
"""How to come to the console of a VM (namespace, name)."""


class View:
    """A way to look at a console and to type on it."""

    def __init__(self, console: SharedConsole, viewer: Viewer) -> None:
        self._console, self._viewer = console, viewer

    async def read(self) -> bytes:
        """What was shown since; empty once closed. Raises ``BridgeError`` when the console is lost."""
        return await self._viewer.read()

    def close(self) -> None:
        """Have ``read`` end."""
        self._viewer.close()

    async def write(self, data: bytes) -> None:
        """Type. Raises ``BridgeError`` when the console is lost."""
        await self._console.send(data)


class Consoles:
    """Opens a session for the first who looks, and closes it after the last. To be run as long as the process."""

    def __init__(self, dial: DialConsole, limits: ConsoleLimits | None = None) -> None:
        self._dial, self._limits = dial, limits or ConsoleLimits()
        self._open: dict[tuple[str, str], tuple[SharedConsole, asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def run(self) -> None:
        """Own the sessions, for ever."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._open.clear()

    @asynccontextmanager
    async def view(self, namespace: str, vm: str) -> AsyncIterator[View]:
        """Look at a console, beginning with what it showed lately.

        Raises:
            BridgeError: it cannot be reached.
        """
        console = self._console(namespace, vm)
        viewer = console.enter()
        try:
            await console.begun()
            yield View(console, viewer)
        finally:
            console.leave(viewer)
            self._close_unwatched((namespace, vm), console)

    def _console(self, namespace: str, vm: str) -> SharedConsole:
        if self._group is None:
            raise Transient("the bridge is being stopped", reason="Stopping")
        known = self._open.get((namespace, vm))
        if known is not None and not known[0].lost:
            return known[0]
        console = SharedConsole(f"{namespace}/{vm}", self._dial(namespace, vm), self._limits)
        task = self._group.create_task(console.run(), name=f"console {console.name}")
        self._open[namespace, vm] = console, task
        return console

    def _close_unwatched(self, key: tuple[str, str], console: SharedConsole) -> None:
        known = self._open.get(key)
        if known is not None and known[0] is console and not console.watched:
            known[1].cancel()
            del self._open[key]
