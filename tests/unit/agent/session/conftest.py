import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kubelet_bridge.agent import session as sessions
from kubelet_bridge.agent.credentials import Vault
from kubelet_bridge.agent.session import Session
from kubelet_bridge.agent.spool import Spool
from kubelet_bridge.agent.transport import GrpcTransport
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from tests.support.guestbridge import POD_UID, GuestBridge


@pytest.fixture
async def bridge() -> AsyncIterator[GuestBridge]:
    bridge = await asyncio.to_thread(GuestBridge)
    await bridge.start()
    yield bridge
    await bridge.stop()


class Agent:
    """A session over the real transport, which can be ended and begun again as by a restart."""

    def __init__(self, bridge: GuestBridge, directory: Path) -> None:
        self._bridge = bridge
        self.directory = directory
        self.prepare: Callable[[Session], None] = lambda _: None
        self.session: Session
        self._task: asyncio.Task[None] | None = None

    def vault(self) -> Vault:
        return Vault(self.directory / "session.json", self.directory / "volatile" / "session.json", POD_UID)

    async def start(self, **seed: object) -> Session:
        async def hello() -> pb.Hello:
            return pb.Hello(agent_version="1.2.3", boot_id="b")

        known = self._bridge.seed(**seed)
        self.session = Session(GrpcTransport(known), known, self.vault(), Spool(self.directory), hello)
        self.prepare(self.session)
        self._task = asyncio.get_running_loop().create_task(self.session.run())
        return self.session

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


@pytest.fixture
async def agent(bridge: GuestBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    monkeypatch.setattr("kubelet_bridge.agent.backoff.FIRST", 0.01)
    monkeypatch.setattr("kubelet_bridge.agent.backoff.LAST", 0.05)
    monkeypatch.setattr(sessions, "HOPELESS_SECONDS", 0.01)
    agent = Agent(bridge, tmp_path)
    yield agent
    await agent.stop()
