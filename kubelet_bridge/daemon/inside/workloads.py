"""Containers that a guest's agent runs, and machines that have one: exec and attach."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubelet_bridge.daemon.inside.streams import GuestProcess
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.kubelet_api.ports import Process, Workload
from kubelet_bridge.translate.places import Place


class GuestWorkload:
    """A ``ports.Workload``: one container in a guest whose agent is there."""

    def __init__(self, session: GuestSession, place: Place, console: Workload | None) -> None:
        """``console``: where the machine itself is the container, and has no input and output but that."""
        self._session, self._place, self._console = session, place, console
        self.tty = place.spec.tty if console is None else console.tty

    @asynccontextmanager
    async def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AsyncIterator[Process]:
        """As in ``ports.Workload``; where the machine is the container, on its own system."""
        async with await self._session.exec(self._place.inside, command, stdin=stdin, tty=tty) as stream:
            yield GuestProcess(stream)

    @asynccontextmanager
    async def attach(self, *, stdin: bool) -> AsyncIterator[Process]:
        """As in ``ports.Workload``."""
        if self._console is not None:
            async with self._console.attach(stdin=stdin) as process:
                yield process
            return
        wanted = stdin and self._place.spec.stdin
        async with await self._session.attach(self._place.inside, stdin=wanted, tty=self.tty) as stream:
            yield GuestProcess(stream)
