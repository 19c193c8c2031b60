"""Replacing oneself by the agent that the bridge ships, and going back when that one does not get through.

The new file is fetched, checked, made to load all of itself, linked as ``current.pyz``, and takes over this very
process: containers never notice. If the bridge has not welcomed it within two minutes, or it ended three times before
that, the former file takes over again. That digest is tried twice more, an hour and two hours later, and never again.

``count_start`` runs before most of the agent is loaded, so that one which cannot be loaded is gone back from too.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.attempt import Attempt, given_up, is_hopeless, is_wanted, load, passed, save, started
from kubelet_bridge.agent.config import AgentFile
from kubelet_bridge.agent.fetch import FetchError, fetch, place, point
from kubelet_bridge.agent.telling import tell
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

PROBATION_SECONDS = 120.0
_CHECK_SECONDS = 120
_AGAIN_SECONDS = 600.0
"""Between two looks at an offer that was not taken."""
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
        """Work until cancelled, or until ``again`` was called. What goes wrong here takes nothing else with it."""
        self._attempt = await in_thread(load, self._record)
        if self._own and self._attempt.trying == self._own and not await self._stand_probation():
            await self._go_back()
            return
        while True:
            await tasks.happens(self._news, _AGAIN_SECONDS)
            self._news.clear()
            if self._offer is None or not is_wanted(self._offer, self._own, self._attempt, time.time()):
                continue
            if await self._take(self._offer):
                return

    async def _stand_probation(self) -> bool:
        deadline = time.monotonic() + PROBATION_SECONDS
        while not self._welcomed and time.monotonic() < deadline:
            if not await tasks.happens(self._news, deadline - time.monotonic()):
                return False
            self._news.clear()
        self._attempt = passed(self._attempt)
        self._news.set()  # the offer that came with the welcome has still to be looked at
        try:
            await in_thread(save, self._record, self._attempt)
            await in_thread(self._tidy)
        except OSError as error:
            tell(f"that this agent was welcomed cannot be written down: {error}")
        return True

    async def _go_back(self) -> None:
        previous = await in_thread(go_back, self._agents, self._record, self._attempt)
        if previous is not None:
            self._again(previous)

    async def _take(self, offer: AgentFile) -> bool:
        """Whether it takes over."""
        try:
            path = await in_thread(fetch, offer.url, offer.digest, offer.size, *self._trust, self._agents)
            version = await in_thread(ask_version, path)
            if version != offer.version:
                raise FetchError("it does not say that it is this version")
            await in_thread(self._change_to, path, offer.digest)
        except (FetchError, OSError, subprocess.SubprocessError) as error:
            tell(f"the agent {offer.version} that the bridge ships cannot be used: {_said(error)}")
            return False  # it is looked at again in a while, and when it is offered again
        tell(f"going on as agent {version} ({offer.digest[:12]})")
        self._again(path)
        return True

    def _change_to(self, path: Path, digest: str) -> None:
        """Whenever the power fails in here, one of the two is started next, and knows where it stands."""
        self._keep_own_file()
        save(self._record, self._attempt._replace(trying=digest, previous=self._own, starts=0))
        point(self._agents, path)

    def _keep_own_file(self) -> None:
        """An image may have brought its agent elsewhere; going back needs it here."""
        mine = self._agents / f"{self._own}.pyz"
        if not mine.exists():
            place(mine, Path(sys.argv[0]).read_bytes())

    def _tidy(self) -> None:
        """Remove agents that nobody will go back to."""
        for path in self._agents.glob("*.pyz"):
            if path.name not in (f"{self._own}.pyz", "current.pyz"):
                path.unlink()


def count_start(agents: Path, record: Path, own: str) -> Path | None:
    """Count this start if we are on probation; the file to become when that was one too many. Blocks."""
    before = load(record)
    attempt = started(before, own)
    if is_hopeless(attempt, own):
        return go_back(agents, record, attempt)
    if attempt != before:
        try:
            save(record, attempt)
        except OSError as error:
            tell(f"this start cannot be counted: {error}")
    return None


def go_back(agents: Path, record: Path, attempt: Attempt) -> Path | None:
    """Undo the replacement; the file to become, None when it is not there any more or cannot be pointed to. Blocks."""
    previous = agents / f"{attempt.previous}.pyz"
    tell(f"agent {attempt.trying[:12]} was not welcomed; going back to {attempt.previous[:12]}")
    try:
        save(record, given_up(attempt, time.time()))
        if not previous.exists():
            return None
        point(agents, previous)
    except OSError as error:
        tell(f"going back is not possible: {error}")
        return None
    return previous


def ask_version(path: Path) -> str:
    """Make a new agent load all of itself and say what it is.

    Raises:
        subprocess.SubprocessError: it cannot do that with this Python.
    """
    done = subprocess.run(
        [sys.executable, *FLAGS, str(path), "check"],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True, timeout=_CHECK_SECONDS,
    )  # fmt: skip
    return done.stdout.strip()


def _said(error: Exception) -> str:
    """With the last line of what a process has said, if it was one."""
    lines = str(getattr(error, "stderr", None) or "").strip().splitlines()
    return f"{error} ({lines[-1]})" if lines else str(error)


def become(path: Path, arguments: Sequence[str]) -> Any:
    """Go on as the agent in ``path``, in this process; does not return."""
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *FLAGS, str(path), *arguments])  # noqa: S606
