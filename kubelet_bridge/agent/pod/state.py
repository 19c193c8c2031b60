"""What the parts of the engine share: the manifest, the memory, and what is known only while the agent runs."""

from __future__ import annotations

import asyncio
import time
from typing import Awaitable, Callable, NamedTuple

from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.link import Link, Logs
from kubelet_bridge.agent.pod.backoff import SECOND
from kubelet_bridge.agent.pod.decide import Fault
from kubelet_bridge.agent.pod.memory import Keeper
from kubelet_bridge.agent.pod.policy import Member, members
from kubelet_bridge.agent.pod.ports import Hooks, Probing
from kubelet_bridge.agent.pod.record import Memory, Record
from kubelet_bridge.agent.pod.words import Teller
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Time(NamedTuple):
    """The time, and waiting for it; tests bring their own."""

    now: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


REAL_TIME = Time()


class Parts(NamedTuple):
    """What the lifecycle acts through."""

    driver: Driver
    link: Link
    logs: Logs
    probing: Probing
    hooks: Hooks


class State:
    """One Pod's state. Whoever changes it calls ``changed``, and the engine decides again."""

    def __init__(self, parts: Parts, keeper: Keeper, time: Time) -> None:
        self.parts = parts
        self.time = time
        self.teller = Teller(parts.link, time.now)
        self.manifest = pb.PodManifest()
        self.memory = Memory()
        self.runs: dict[str, Run] = {}  # the newest run of each container
        self.faults: dict[str, Fault] = {}
        self.waiting: dict[str, tuple[str, str]] = {}
        self.holds: dict[str, int] = {}
        self.trouble: tuple[str, str] = ("", "")
        self._keeper = keeper
        self._news = asyncio.Event()
        self._saving = asyncio.Lock()

    def changed(self) -> None:
        """Something is different: decide and report again."""
        self._news.set()

    async def news(self) -> None:
        """Wait until something is different."""
        await self._news.wait()
        self._news.clear()

    async def load(self) -> None:
        """Go on from what was kept."""
        self.memory = await self._keeper.load()

    async def save(self) -> None:
        """Keep the memory on disk."""
        async with self._saving:
            await self._keeper.save(self.memory)

    def remember(self, memory: Memory) -> None:
        """Go by this memory; it is kept before the next decision."""
        self.memory = memory
        self.changed()

    def record(self, name: str, record: Record) -> None:
        """Keep one container's record."""
        self.remember(self.memory.with_record(name, record))

    def hold(self, name: str, seconds: float, reason: str, message: str) -> None:
        """A start has failed: say why, and do not try again before that time."""
        self.holds[name] = self.time.now() + int(seconds * SECOND)
        self.wait_because(name, reason, message)

    def wait_because(self, name: str, reason: str, message: str) -> None:
        """Say why a container does not run."""
        self.waiting[name] = (reason, message)
        self.changed()

    def member(self, name: str) -> Member | None:
        """The container of that name."""
        return next((member for member in members(self.manifest) if member.container.name == name), None)

    def tell(self, member: Member, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell an event of this container."""
        init = member.part in ("init", "sidecar")
        self.teller.tell(member.container.name, init, reason, message, warning=warning)
