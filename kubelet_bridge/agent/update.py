"""Replacing oneself by the agent that the bridge ships, and going back when that one does not get through.

The new file is fetched, checked, asked for its version, linked as ``current.pyz``, and takes over this very process:
containers never notice. If the bridge has not welcomed it within two minutes, or it ended three times before that, the
former file takes over again, and that digest is not tried any more.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from kubelet_bridge.agent.attempt import Attempt, given_up, is_hopeless, is_wanted, load, passed, save, started
from kubelet_bridge.agent.config import AgentFile
from kubelet_bridge.agent.fetch import FetchError, fetch, point
from kubelet_bridge.agent.telling import tell
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

PROBATION_SECONDS = 120.0
_VERSION_SECONDS = 60
FLAGS = ("-I", "-S")
"""Of the interpreter: nothing of the guest's own Python packages or environment gets into the agent."""


class Updater:
    """Watches offers, and the probation of the agent it is part of."""

    def __init__(
        self, agents: Path, record: Path, own: str, trust: tuple[str, str], again: Callable[[Path], None]
    ) -> None:
        """``trust``: the bridge's CA and name. ``again(file)`` lets go of all and makes this process ``file``."""
        self._agents = agents
        self._record = record
        self._own = own
        self._trust = trust
        self._again = again
        self._attempt = Attempt()
        self._offer: AgentFile | None = None
        self._news = asyncio.Event()
        self._welcomed = False

    def welcomed(self, welcome: pb.Welcome) -> None:
        """The bridge took us; and names the agent that it ships."""
        self._welcomed = True
        self.offered(welcome.agent)
        self._news.set()

    def offered(self, offer: pb.AgentOffer) -> None:
        """The bridge ships this agent now."""
        self._offer = AgentFile(offer.version, offer.digest, offer.url, offer.size)
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled, or until ``again`` was called."""
        self._attempt = started(await in_thread(load, self._record), self._own)
        if self._attempt.trying == self._own and self._own and not await self._stand_probation():
            await self._go_back()
            return
        while True:
            await self._news.wait()
            self._news.clear()
            if self._offer is not None and is_wanted(self._offer, self._own, self._attempt):
                await self._take(self._offer)

    async def _stand_probation(self) -> bool:
        await in_thread(save, self._record, self._attempt)
        if is_hopeless(self._attempt, self._own):
            return False
        deadline = time.monotonic() + PROBATION_SECONDS
        while not self._welcomed and time.monotonic() < deadline:
            try:
                await asyncio.wait_for(self._news.wait(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                return False
            self._news.clear()
        self._attempt = passed(self._attempt)
        await in_thread(save, self._record, self._attempt)
        self._news.set()  # the offer that came with the welcome has still to be looked at
        await in_thread(self._tidy)
        return True

    async def _go_back(self) -> None:
        previous = self._agents / f"{self._attempt.previous}.pyz"
        tell(f"agent {self._own[:12]} was not welcomed; going back to {self._attempt.previous[:12]}")
        self._attempt = given_up(self._attempt)
        await in_thread(save, self._record, self._attempt)
        if await in_thread(previous.exists):
            await in_thread(point, self._agents, previous)
            self._again(previous)

    async def _take(self, offer: AgentFile) -> None:
        try:
            path = await in_thread(fetch, offer.url, offer.digest, offer.size, *self._trust, self._agents)
            version = await in_thread(ask_version, path)
        except (FetchError, OSError, subprocess.SubprocessError) as error:
            tell(f"the agent {offer.version} that the bridge ships cannot be used: {error}")
            return  # the next welcome offers it again
        tell(f"going on as agent {version} ({offer.digest[:12]})")
        await in_thread(self._keep_own_file)
        attempt = self._attempt._replace(trying=offer.digest, previous=self._own, starts=0)
        await in_thread(save, self._record, attempt)
        await in_thread(point, self._agents, path)
        self._again(path)

    def _keep_own_file(self) -> None:
        """An image may have brought its agent elsewhere; going back needs it here."""
        mine = self._agents / f"{self._own}.pyz"
        if not mine.exists():
            mine.write_bytes(Path(sys.argv[0]).read_bytes())

    def _tidy(self) -> None:
        """Remove agents that nobody will go back to."""
        for path in self._agents.glob("*.pyz"):
            if path.name not in (f"{self._own}.pyz", "current.pyz"):
                path.unlink()


def ask_version(path: Path) -> str:
    """Run a new agent just far enough to say what it is.

    Raises:
        subprocess.SubprocessError: it does not even do that here.
    """
    done = subprocess.run(
        [sys.executable, *FLAGS, str(path), "version"],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True, timeout=_VERSION_SECONDS,
    )  # fmt: skip
    return done.stdout.strip()


def become(path: Path, arguments: Sequence[str]) -> Any:
    """Go on as the agent in ``path``, in this process; does not return."""
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *FLAGS, str(path), *arguments])  # noqa: S606
