"""A guest that is welcome and lies: sizes, numbers, names and bytes that no honest agent would send."""

import asyncio
import contextlib
from pathlib import Path

import grpc
import msgspec
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import convert
from kubelet_bridge.guest.limits import KIB, MIB, SessionLimits
from kubelet_bridge.guest.logpump import MOST_RUNS
from kubelet_bridge.model.guest import GuestReport
from kubelet_bridge.model.guestrecord import GuestRecord
from tests.support.guests import Agent, MemoryRecords, Node, pod_key, soon
from tests.support.rawhttp2 import RawClient, frame

NOW = 1_772_366_400 * 10**9
EVIL, GOOD = pod_key("evil"), pod_key("good")


@pytest.fixture
async def evil(node: Node) -> Agent:
    node.registry.expect(EVIL, boot="vmi-1")
    return node.agent(EVIL)


def kept_report(node: Node) -> GuestReport:
    record = node.records.get(EVIL.uid)
    assert record is not None
    assert msgspec.json.decode(msgspec.json.encode(record), type=GuestRecord) == record
    assert record.report is not None
    return record.report


async def report(node: Node, agent: Agent, message: pb.PodReport) -> GuestReport:
    await agent.say(report=message)
    assert (await agent.hear_of("report_ack")).report_ack.number == message.number
    return kept_report(node)


async def test_as_many_containers_as_fit_into_a_message(node: Node, evil: Agent) -> None:
    """Half a million that are nothing, then one that could be."""
    async with evil as agent:
        await agent.settle(node)
        nothing = pb.PodReport(containers=[pb.ContainerReport()] * 400_000).SerializeToString()
        one = pb.PodReport(number=1, containers=[pb.ContainerReport(name="app")]).SerializeToString()
        body = nothing + one
        raw = b"\x2a" + _varint(len(body)) + body
        assert pb.GuestMessage.FromString(raw).WhichOneof("body") == "report"
        await agent.raw(raw)
        await agent.hear_of("report_ack")
        assert kept_report(node).containers == []


@pytest.mark.parametrize("size", [MIB, 100 * MIB])
async def test_a_text_of_a_hundred_megabytes(node: Node, evil: Agent, size: int) -> None:
    async with evil as agent:
        await agent.settle(node)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await agent.say(report=pb.PodReport(number=1, message="x" * size))
        assert await agent.refusal() is not grpc.StatusCode.OK
        await soon(lambda: node.registry.session(EVIL.uid) is None, "the session has ended")
        record = node.records.get(EVIL.uid)
        assert record is not None
        assert record.report is None


async def test_texts_are_cut_to_what_a_status_can_hold(node: Node, evil: Agent) -> None:
    long = "y" * (100 * KIB)
    ended = pb.Terminated(exit_code=-5, signal=-9, reason="not a reason", message=long, finished_at=2**64 - 1)
    container = pb.ContainerReport(name="app", terminated=ended, image=long, container_id=long, restart_count=2**32 - 1)
    async with evil as agent:
        await agent.settle(node)
        found = await report(node, agent, pb.PodReport(number=2**63, containers=[container, container], message=long))
    assert len(msgspec.json.encode(found)) < 16 * KIB
    assert found.number == 2**63 - 1
    end = found.containers[0].termination
    assert end is not None
    assert (end.exit_code, end.signal, end.reason, len(end.message)) == (-5, -9, "Error", convert.MESSAGE_LENGTH)
    assert end.finished_at is not None
    assert end.finished_at.year == 2554  # 2**64 - 1 nanoseconds
    assert len(found.containers) == 1


@pytest.mark.parametrize("raw", [b"\x2a\x04\x12\x02\xff\xfe", b"\x3a\x04\x12\x02\xc3\x28", b"\x0a\x04\x12\x02\xed\xa0"])
async def test_texts_that_are_not_utf8(node: Node, evil: Agent, raw: bytes) -> None:
    """A report's revision, an event's reason, a Hello's Pod."""
    async with evil as agent:
        await agent.settle(node)
        await agent.raw(raw)
        assert await agent.refusal() == grpc.StatusCode.INVALID_ARGUMENT


NAMES = ["../../x", "..", "/etc/cron.d/x", "a/../../b", "a\0b", "", "A", "-", "x" * 64, "app\n", "..\\x"]


async def test_names_that_lead_elsewhere(node: Node, evil: Agent, tmp_path: Path) -> None:
    before = await asyncio.to_thread(_everything, tmp_path.parent)
    async with evil as agent:
        await agent.settle(node)
        records = [pb.LogRecord(container=name, position=1, data=b"x") for name in NAMES]
        await agent.say(logs=pb.LogBatch(records=records))
        await agent.hear_of("log_ack")
        found = await report(
            node, agent, pb.PodReport(number=1, containers=[pb.ContainerReport(name=one) for one in NAMES])
        )
        await agent.say(event=pb.GuestEvent(reason="Started", container="../../x"))
        await agent.say(logs=pb.LogBatch(records=[pb.LogRecord(container="app", position=1, data=b"x")]))
        while (await agent.hear_of("log_ack")).log_ack.container != "app":
            pass
    assert found.containers == []
    assert node.events == []
    written = await asyncio.to_thread(_everything, tmp_path.parent) - before
    assert {one.relative_to(tmp_path).as_posix() for one in written if one.suffix == ".log"} == {
        f"logs/{EVIL.uid}/app/0.log"
    }
    assert {len(one.relative_to(tmp_path).parts) for one in written} <= {1, 2, 3, 4}


async def test_positions_that_go_back_or_too_far(node: Node, evil: Agent) -> None:
    async with evil as agent:
        await agent.settle(node)
        for positions in ([5, 3, 5, 6], [1, 2], [2**63], [2**64 - 1], [0], [7]):
            records = [pb.LogRecord(container="app", position=one, time=2**64 - 1, data=b"x") for one in positions]
            await agent.say(logs=pb.LogBatch(records=records))
            ack = (await agent.hear_of("log_ack")).log_ack
        assert ack.position == 7
        assert [line.position for line in await node.logs.read(EVIL.uid, "app", 0)] == [5, 6, 7]
        await agent.say(logs=pb.LogBatch(records=[pb.LogRecord(container="app", position=2**63 - 1, data=b"x")]))
        assert (await agent.hear_of("log_ack")).log_ack.position == 2**63 - 1
        await agent.say(logs=pb.LogBatch(records=[pb.LogRecord(container="app", position=8, data=b"late")]))
        assert (await agent.hear_of("log_ack")).log_ack.position == 2**63 - 1
        assert [line.data for line in await node.logs.read(EVIL.uid, "app", 0)] == [b"x"] * 4


async def test_more_logs_at_once_than_there_can_be_containers(node: Node, evil: Agent) -> None:
    async with evil as agent:
        await agent.settle(node)
        records = [pb.LogRecord(container="app", attempt=one, position=1) for one in range(MOST_RUNS + 1)]
        await agent.say(logs=pb.LogBatch(records=records))
        assert await agent.refusal() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_comes_a_byte_at_a_time(tmp_path: Path) -> None:
    """As long as it is not whole, nothing was heard."""
    limits = SessionLimits(silence_seconds=1.0)
    async with Node(tmp_path, MemoryRecords(), limits).serving() as node:
        node.registry.expect(EVIL, boot="vmi-1")
        client = await RawClient.connect(node.port, node.authority.certificate)
        stream = await client.open()
        hello = pb.Hello(
            protocol_version=1, pod_uid=EVIL.uid, token_kind=pb.TOKEN_KIND_BOOT, token=node.boot_token(EVIL),
            nonce=b"n" * 16,
        )  # fmt: skip
        await client.send(stream, frame(pb.GuestMessage(hello=hello).SerializeToString()))
        await soon(lambda: node.registry.session(EVIL.uid) is not None, "welcomed")
        await client.send(stream, frame(b"", length=1000))
        for _ in range(40):
            with contextlib.suppress(Exception):
                await client.send(stream, b"\0")
            await client.pump(seconds=0.05)
            if node.registry.session(EVIL.uid) is None:
                break
        await soon(lambda: node.registry.session(EVIL.uid) is None, "given up")
        client.abort()


async def test_figures_are_taken_without_what_nobody_asked_for(node: Node, evil: Agent) -> None:
    """No message is kept, and no number is larger than sums of them may be."""
    async with evil as agent:
        await agent.settle(node)
        unknown = b"\xfa\x3e" + _varint(100_000) + b"u" * 100_000  # field 1007
        usage = pb.Usage(processes=3, cpu_nanoseconds=2**64 - 1).SerializeToString() + unknown
        times = pb.MetricsSample(time=NOW, containers=[pb.ContainerUsage(name="c", started_at=NOW - 1)])
        body = b"\x12" + _varint(len(usage)) + usage + unknown + times.SerializeToString()
        await agent.raw(b"\x42" + _varint(len(body)) + body)
        await soon(lambda: len(node.samples) == 1, "a sample")
        ((key, sample),) = node.samples
        assert key == EVIL
        assert (sample.machine.processes, sample.machine.cpu) == (3, 2**60)
        assert (sample.taken_at, sample.containers[0].started_at) == (NOW, NOW - 1)
        assert len(msgspec.json.encode(sample)) < 1000


def _everything(top: Path) -> set[Path]:
    return set(top.rglob("*"))


def _varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made += bytes([number & 127 | 128])
        number >>= 7
    return made + bytes([number])
