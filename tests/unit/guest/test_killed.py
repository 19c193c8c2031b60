"""The bridge is killed at every line that matters: an agent that keeps the rules always gets in, and loses nothing."""

import asyncio
from pathlib import Path

import grpc
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.model import guesttoken
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.store.standalone import standalone
from tests.support.guestnode import KEY, authority, served
from tests.support.guests import Agent

POINTS = [
    "guest.record.commit:1", "guest.record.committed:1", "guest.token.handed-out", "guest.record.commit:2",
    "guest.record.committed:2", "guest.record.commit:3", "guest.record.committed:3", "guest.record.commit:4",
    "guest.record.committed:4", "guest.report.acknowledged", "guest.logs.written:1", "guest.logs.written:2",
    "guest.logs.synced:1", "guest.logs.synced:2", "guest.logs.synced:3",
    "guest.logs.rotated",
]  # fmt: skip


class RuleKeeper:
    """What an agent remembers on its disk."""

    def __init__(self, made: Authority) -> None:
        self.made = made
        self.token = ""
        self.reported = self.report = 0
        self.logged = 0

    async def live(self, port: int) -> None:
        """One connection: introduce itself, report twice, ship some lines; EOFError when the bridge goes."""
        async with Agent(port, self.made.certificate, KEY) as agent:
            if self.token:
                await agent.introduce(self.token, boot=False)
            else:
                await agent.introduce(guesttoken.boot_token(self.made.key, KEY.uid))
                self.token = agent.welcome.session_token
                await agent.say(session_stored=pb.SessionStored())
            for _ in range(2):
                self.report += 1
                await agent.say(report=pb.PodReport(number=self.report, boot="vmi-1"))
                self.reported = (await agent.hear_of("report_ack")).report_ack.number
                records = [pb.LogRecord(container="app", position=self.logged + n, data=b"x") for n in range(1, 4)]
                await agent.say(logs=pb.LogBatch(records=records))
                self.logged = (await agent.hear_of("log_ack")).log_ack.position


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(tmp_path: Path, point: str) -> None:
    directory = tmp_path / "state"
    agent = RuleKeeper(await asyncio.to_thread(authority, directory))
    async with served(directory, point) as (port, process):
        with pytest.raises((EOFError, grpc.aio.AioRpcError)):  # the latter when it dies while the agent speaks
            await agent.live(port)
        async with asyncio.timeout(10):
            assert await process.wait() == -9
    acknowledged, logged = agent.reported, agent.logged
    async with standalone(directory) as database:
        kept = (await GuestStore.load(database)).get(KEY.uid)
        if acknowledged:
            assert kept is not None
            assert kept.report is not None
            assert kept.report.number >= acknowledged
    async with LogStore(directory / "logs") as logs:
        positions = [line.position for line in await logs.read(KEY.uid, "app", 0)]
    assert positions == list(range(1, len(positions) + 1))
    assert len(positions) >= logged
    async with served(directory) as (port, _):
        await agent.live(port)
    async with LogStore(directory / "logs") as logs:
        assert [line.position for line in await logs.read(KEY.uid, "app", 0)] == list(range(1, agent.logged + 1))
