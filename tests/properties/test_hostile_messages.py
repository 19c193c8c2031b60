"""Whatever a guest says: another Pod is not affected, what is kept of its own stays valid, nothing secret is logged.

One session's whole life without a network, so that many can be tried; the same attacks on the server itself are in
``tests/unit/guest/test_hostile.py``.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import convert
from kubelet_bridge.guest.ending import SessionEnd
from kubelet_bridge.guest.limits import MIB, Rate, SessionLimits
from kubelet_bridge.model.guest import Guest, GuestFacts
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.meta import PodKey
from tests.properties.test_guests import Run
from tests.support.anymessage import guest_messages, messages
from tests.support.guests import NONCE, MemoryRecords, Node, pod_key, running

pytestmark = pytest.mark.timeout(240)

EVIL, GOOD = pod_key("evil"), pod_key("good")
MARK = "what-a-container-printed"
LIMITS = SessionLimits(messages=Rate(1e6, 1e6), pieces=Rate(1e6, 1e6), bytes=Rate(1e9, 1e9))


class Script:
    """A wire on which a guest says its lines, a heartbeat last, hears all that ``until`` names, and goes."""

    def __init__(self, lines: list[bytes], until: set[str]) -> None:
        beat = pb.GuestMessage(heartbeat=pb.Heartbeat(time=7)).SerializeToString()
        self._lines = iter([*lines, beat])
        self._until = until | {"heartbeat_ack"}
        self._satisfied = asyncio.Event()
        self.heard: list[pb.BridgeMessage] = []

    async def read(self) -> bytes | None:
        await asyncio.sleep(0)
        line = next(self._lines, None)
        if line is None:
            await self._satisfied.wait()
        return line

    async def write(self, message: bytes) -> None:
        self.heard.append(pb.BridgeMessage.FromString(message))
        if self._until <= {one.WhichOneof("body") for one in self.heard}:
            self._satisfied.set()


async def life(node: Node, key: PodKey, lines: list[bytes], *until: str) -> tuple[Script, SessionEnd]:
    hello = pb.Hello(
        protocol_version=1, pod_uid=key.uid, token_kind=pb.TOKEN_KIND_BOOT, token=node.boot_token(key), nonce=NONCE
    )
    node.registry.expect(key, boot=f"vmi-{time.monotonic_ns()}")
    session = await node.registry.welcome(hello, key.uid)
    script = Script(lines, set(until))
    try:
        return script, await session.run(script)
    finally:
        node.registry.ended(session)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    said=st.lists(
        st.one_of(guest_messages().map(pb.GuestMessage.SerializeToString), st.binary(max_size=60)), max_size=8
    )
)
async def test_any_conversation(
    said: list[bytes], tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path_factory.mktemp("node")
    node = Node(directory, MemoryRecords(), LIMITS)
    async with node.logs, running(node.logs.run()):
        line = pb.LogRecord(container="app", position=1, data=b"good")
        good = [
            pb.GuestMessage(report=pb.PodReport(number=1, boot="b", finished=True)).SerializeToString(),
            pb.GuestMessage(logs=pb.LogBatch(records=[line])).SerializeToString(),
        ]
        await life(node, GOOD, good, "report_ack", "log_ack")
        before = node.records.get(GOOD.uid)
        events = len(node.events)
        script, end = await life(node, EVIL, said)
        assert node.records.get(GOOD.uid) == before
        assert [one.data for one in await node.logs.read(GOOD.uid, "app", 0)] == [b"good"]
        assert {key for key, _ in node.events[events:]} <= {EVIL}
        _valid(node.records.get(EVIL.uid))
        await asyncio.to_thread(_in_their_place, directory / "logs")
        again, _ = await life(node, EVIL, [])
        assert again.heard[0].WhichOneof("body") == "welcome"
    said_by_us = "".join(capfd.readouterr())
    for secret in (node.boot_token(EVIL), *(one.welcome.session_token for one in script.heard), MARK):
        assert not secret or secret not in said_by_us
    assert "Traceback" not in said_by_us
    assert end.status in ("OK", "INVALID_ARGUMENT", "UNAVAILABLE")


def _valid(record: GuestRecord | None) -> None:
    """It can be written and read again, and is no larger than a row should be."""
    assert record is not None
    encoded = msgspec.json.encode(record)
    assert msgspec.json.decode(encoded, type=GuestRecord) == record
    assert len(encoded) < MIB
    assert record.uid == EVIL.uid


def _in_their_place(logs: Path) -> None:
    """Files are where a container's log can be, and nowhere else."""
    for path in logs.rglob("*"):
        if not path.is_dir():
            uid, container, name = path.relative_to(logs).parts
            assert uid in (EVIL.uid, GOOD.uid)
            assert convert.is_container_name(container)
            assert name.partition(".log")[0].isdecimal()


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    said=st.lists(messages(pb.PodReport.DESCRIPTOR), min_size=1, max_size=4),
    policy=st.sampled_from(["Always", "Never"]),
)
async def test_any_report_makes_a_status_that_can_be_written(said: list[pb.PodReport], policy: str) -> None:
    run, key = Run(policy), PodKey("n", "web", "u1")
    loop = run._start(run.agents.crasher)
    while key.uid not in run.agents.guests or run.agents.guests[key.uid].report is None:
        await loop.sync(key)
        run.cluster.advance()
        run.agents.advance()
    boot = run.agents.boots["u1"]
    for number, message in enumerate(said):
        report = convert.report(message)
        if number % 2 == 0:
            report = msgspec.structs.replace(report, boot=boot)
        run.agents.guests["u1"] = Guest(connected=True, since=datetime.now(UTC), facts=GuestFacts(), report=report)
        await loop.sync(key)
        run.cluster.advance()
        status = run.cluster.pods["web"]["status"]
        assert len(msgspec.json.encode(status)) < 256 * 1024
        named = {one["name"] for one in status["containerStatuses"]}
        assert named == {"web", "log"}, "a container that the Pod does not have"
