"""A guest that means harm: it must hurt neither the bridge nor another guest.

Each attack runs against a server on which a well-behaved guest is connected, whose heartbeats must be answered
meanwhile and afterwards.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.limits import KIB, MIB, FrontLimits, Rate, SessionLimits
from tests.support.guests import Agent, MemoryRecords, Node, pod_key, soon
from tests.support.rawhttp2 import HEADERS, RawClient, frame

GOOD, EVIL = pod_key("good"), pod_key("evil")
LIMITS = SessionLimits(
    message_bytes=256 * KIB, hello_seconds=0.5, silence_seconds=20.0, write_seconds=1.0, messages=Rate(50.0, 100.0),
    bytes=Rate(1.0 * MIB, 1.0 * MIB), failures=Rate(0.1, 5.0), welcomes=Rate(0.1, 6.0),
)  # fmt: skip
FRONT = FrontLimits(per_peer=8, accepted=Rate(200.0, 200.0), unproven_seconds=1.5, unproven_bytes=64 * KIB, total=64)


class Victim:
    """A guest that goes on living its life."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.answered = agent, 0

    async def live(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(0.05)

    async def beat(self) -> None:
        await self.agent.say(heartbeat=pb.Heartbeat(time=self.answered))
        async with asyncio.timeout(10):
            assert (await self.agent.hear_of("heartbeat_ack")).heartbeat_ack.time == self.answered
        self.answered += 1


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path, MemoryRecords(), LIMITS).serving(FRONT) as serving:
        yield serving


@pytest.fixture
async def victim(node: Node) -> AsyncIterator[Victim]:
    """Lives while the test runs, and is still well after it."""
    node.registry.expect(GOOD, boot="vmi-good")
    node.registry.expect(EVIL, boot="vmi-evil")
    async with node.agent(GOOD) as agent:
        await agent.settle(node)
        one = Victim(agent)
        living = asyncio.get_running_loop().create_task(one.live())
        yield one
        before = one.answered
        await soon(lambda: living.done() or one.answered > before + 1, "the other guest is served")
        living.cancel()
        await asyncio.wait([living])
        if not living.cancelled():
            living.result()


async def raw(node: Node) -> RawClient:
    return await RawClient.connect(node.port, node.authority.certificate)


async def refused(agent: Agent, token: str, *, boot: bool = True, **more: object) -> grpc.StatusCode:
    with pytest.raises(EOFError):
        await agent.introduce(token, boot=boot, **more)
    return await agent.refusal()


async def test_wrong_tokens(node: Node, victim: Victim) -> None:
    async with node.agent(GOOD) as impostor:
        assert await refused(impostor, node.boot_token(EVIL)) == grpc.StatusCode.UNAUTHENTICATED
    async with node.agent(GOOD) as impostor:
        assert await refused(impostor, "invented", boot=False) == grpc.StatusCode.UNAUTHENTICATED
    async with node.agent(pod_key("never-was")) as impostor:
        assert await refused(impostor, node.boot_token(GOOD)) == grpc.StatusCode.UNAUTHENTICATED
    async with node.agent(GOOD) as impostor:  # which it has used already
        assert await refused(impostor, node.boot_token(GOOD)) == grpc.StatusCode.PERMISSION_DENIED
    assert node.counters.handshakes.count("bad_token") == 3
    assert node.counters.handshakes.count("replayed") == 1


async def test_guessing_is_slowed_down_and_does_not_lock_out_the_honest(node: Node, victim: Victim) -> None:
    statuses = []
    for _ in range(8):
        async with node.agent(GOOD) as impostor:
            statuses.append(await refused(impostor, "guess", boot=False))
    assert statuses[0] == grpc.StatusCode.UNAUTHENTICATED
    assert statuses[-1] == grpc.StatusCode.RESOURCE_EXHAUSTED
    await soon(lambda: len(node.server.front) == 1, "the guesser's connections are gone")
    async with node.agent(EVIL) as neighbour:  # of the same address, with a good token
        assert (await neighbour.introduce(node.boot_token(EVIL))).session_token


async def test_two_exchanges_of_one_boot_token_at_the_same_time(node: Node, victim: Victim) -> None:
    async with node.agent(EVIL) as first, node.agent(EVIL) as second:
        token = (await first.introduce(node.boot_token(EVIL))).session_token
        other = (await second.introduce(node.boot_token(EVIL))).session_token
    assert token != other
    async with node.agent(EVIL) as agent:
        assert await refused(agent, token, boot=False) == grpc.StatusCode.UNAUTHENTICATED
    async with node.agent(EVIL) as agent:
        await agent.introduce(other, boot=False)


async def test_a_guest_that_connects_again_and_again(node: Node, victim: Victim) -> None:
    async with node.agent(EVIL) as agent:
        token = await agent.settle(node)
    for _ in range(LIMITS.welcomes.burst.__int__()):
        async with node.agent(EVIL) as agent:
            with contextlib.suppress(EOFError):
                await agent.introduce(token, boot=False)
    async with node.agent(EVIL) as agent:
        assert await refused(agent, token, boot=False) == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("size", [LIMITS.message_bytes + 1, 4 * MIB])
async def test_a_message_that_is_too_large(node: Node, victim: Victim, size: int) -> None:
    async with node.agent(EVIL) as agent:
        await agent.settle(node)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await agent.raw(b"\x00" * size)
        assert await agent.refusal() is not grpc.StatusCode.OK
        await soon(lambda: node.registry.session(EVIL.uid) is None, "the session has ended")


@pytest.mark.parametrize(
    "hello",
    [
        b"", b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", pb.GuestMessage().SerializeToString(),
        pb.GuestMessage(heartbeat=pb.Heartbeat()).SerializeToString(),
        pb.GuestMessage(hello=pb.Hello(protocol_version=1, pod_uid="u" * 100_000)).SerializeToString(),
    ],
    ids=["empty", "garbage", "length", "no-body", "not-hello", "huge-uid"],
)  # fmt: skip
async def test_a_bad_first_message(node: Node, victim: Victim, hello: bytes) -> None:
    async with node.agent(EVIL) as agent:
        await agent.raw(hello)
        assert await agent.refusal() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE)


async def test_silence_after_the_stream_began(node: Node, victim: Victim) -> None:
    async with node.agent(EVIL) as agent:
        assert await agent.refusal() == grpc.StatusCode.INVALID_ARGUMENT


async def test_connections_that_say_nothing(node: Node, victim: Victim) -> None:
    """In TCP, in TLS, in HTTP/2: all have the same deadline, and so many of one address and no more."""
    silent = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(4)]
    shaken = [await raw(node) for _ in range(3)]
    slow = await asyncio.open_connection("127.0.0.1", node.port)
    for byte in b"\x16\x03\x01\x02":  # a ClientHello, slowly
        slow[1].write(bytes([byte]))
        await asyncio.sleep(0.05)
    too_many, writer = await asyncio.open_connection("127.0.0.1", node.port)
    assert await _read(too_many) == b""
    writer.close()
    for reader, one in [*silent, slow]:
        assert await _read(reader) == b""
        one.close()
    for client in shaken:
        assert await client.ended()
        await client.close()
    assert node.counters.refusals.count("connections_of_peer") == 1
    assert node.counters.refusals.count("deadline") == 8


async def test_garbage_instead_of_tls(node: Node, victim: Victim) -> None:
    for payload in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 1000, b"\x16\x03\x01\xff\xff" + b"\xaa" * 70_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        with contextlib.suppress(OSError):
            writer.write(payload)
            await writer.drain()
        await _read(reader)
        writer.close()


async def test_a_flood_before_any_welcome(node: Node, victim: Victim) -> None:
    client = await raw(node)
    with contextlib.suppress(OSError):
        for _ in range(64):
            await client.raw(b"\x00" * 4096)
            await asyncio.sleep(0)
    assert await client.ended()
    await client.close()
    await soon(lambda: len(node.server.front) == 1, "only the other guest's connection is left")


async def test_ten_thousand_streams_on_one_connection(node: Node, victim: Victim) -> None:
    client = await raw(node)
    with contextlib.suppress(OSError):
        for number in range(10_000):
            await client.raw(client.headers_frame(2 * number + 1))
            await asyncio.sleep(0)
    assert await client.ended()
    await client.close()
    await soon(lambda: len(node.server.front) == 1, "only the other guest's connection is left")


async def test_ten_thousand_connections(node: Node, victim: Victim) -> None:
    """As many as the machine lets one make in a row; each costs at most a place for a moment."""
    loop = asyncio.get_running_loop()
    highest = 0
    for _ in range(10_000 // 50):
        made = [socket.socket() for _ in range(50)]
        for one in made:
            one.setblocking(False)
        await asyncio.gather(
            *(loop.sock_connect(one, ("127.0.0.1", node.port)) for one in made), return_exceptions=True
        )
        highest = max(highest, len(node.server.front))
        for one in made:
            one.close()
    assert highest <= FRONT.per_peer + 1
    await soon(lambda: len(node.server.front) == 1, "only the other guest's connection is left")
    assert victim.answered > 3


async def test_frames_that_break_the_rules(node: Node, victim: Victim) -> None:
    hello = pb.GuestMessage(
        hello=pb.Hello(
            protocol_version=1, pod_uid=EVIL.uid, token_kind=pb.TOKEN_KIND_BOOT, token=node.boot_token(EVIL),
            nonce=b"n" * 16,
        )
    ).SerializeToString()  # fmt: skip
    attacks = [
        frame(hello, length=2**31), frame(hello, length=len(hello) + 100), frame(hello, compressed=1),
        frame(hello, compressed=77), frame(b"\xde\xad\xbe\xef"), b"\x00",
    ]  # fmt: skip
    for attack in attacks:
        client = await raw(node)
        stream = await client.open()
        with contextlib.suppress(OSError):
            await client.send(stream, attack, end=True)
        await client.pump(seconds=0.5)
        assert "0" not in client.statuses
        await client.close()
    for headers in ([*HEADERS[:2], (":path", "/x"), *HEADERS[3:]], HEADERS[:3], [*HEADERS, ("x", "y" * 20_000)]):
        client = await raw(node)
        await client.open(headers)
        await client.pump(seconds=0.3)
        assert "0" not in client.statuses
        await client.close()
    for junk in (
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        b"\0" * 99,
    ):
        client = await raw(node)
        await client.raw(junk)
        assert await client.ended()
        await client.close()


async def test_floods_of_everything(node: Node, victim: Victim) -> None:
    """One guest says all it can as fast as it can; it is read at the rate it may have, the other one is served."""
    line = pb.LogRecord(container="app", data=b"x" * 8000)
    bodies: list[dict[str, object]] = [
        {"logs": pb.LogBatch(records=[line] * 20)},
        {"report": pb.PodReport(number=1, containers=[pb.ContainerReport(name=f"c{n}") for n in range(500)])},
        {"event": pb.GuestEvent(reason="BackOff", message="m" * 9000)},
        {"info": pb.GuestInfo(hostname="h" * 9000, addresses=["a" * 900] * 50)},
        {"metrics": pb.MetricsSample(containers=[pb.ContainerUsage(name="app")] * 500)},
        {"stream_data": pb.StreamData(id=99, channel=pb.CHANNEL_STDOUT, data=b"d" * 9000)},
        {"probe_result": pb.ProbeResult(id=99)},
    ]  # fmt: skip
    async with node.agent(EVIL) as agent:
        await agent.settle(node)
        before, sent = victim.answered, 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await agent.say(**bodies[sent % len(bodies)])
                sent += 1

        async def drain() -> None:
            while True:
                await agent.hear()

        tasks = [asyncio.get_running_loop().create_task(one()) for one in (flood, drain)]
        await asyncio.wait(tasks, timeout=4)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert victim.answered >= before + 10
        assert len(node.events) <= LIMITS.events.burst + 10
        found = node.registry.get(EVIL.uid)
        assert found is not None
        assert len(found.facts.hostname) == 256
        assert found.report is not None
        assert len(found.report.containers) == 64


async def test_a_guest_that_does_not_read(node: Node, victim: Victim) -> None:
    async with node.agent(EVIL) as agent:
        await agent.settle(node)
        session = node.registry.session(EVIL.uid)
        assert session is not None
        node.manifests[EVIL.uid] = pb.PodManifest(revision="1", registries_conf=b"x" * (16 * MIB))
        session.refresh()
        await soon(lambda: node.registry.session(EVIL.uid) is None, "given up", seconds=15)


async def test_a_second_hello(node: Node, victim: Victim) -> None:
    async with node.agent(EVIL) as agent:
        await agent.settle(node)
        await agent.say(hello=pb.Hello(pod_uid=GOOD.uid))
        assert await agent.refusal() == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_a_guest_says_of_others_concerns_itself(node: Node, victim: Victim) -> None:
    """Nothing in a message says whose it is: it is the connection's."""
    async with node.agent(EVIL) as agent:
        await agent.settle(node)
        await agent.say(logs=pb.LogBatch(records=[pb.LogRecord(container="app", position=1, data=b"evil")]))
        await agent.hear_of("log_ack")
    assert await node.logs.read(GOOD.uid, "app", 0) == []
    assert [line.data for line in await node.logs.read(EVIL.uid, "app", 0)] == [b"evil"]


async def test_no_token_is_ever_logged(node: Node, victim: Victim, capsys: pytest.CaptureFixture[str]) -> None:
    async with node.agent(EVIL) as agent:
        token = await agent.settle(node)
    async with node.agent(GOOD) as agent:
        await refused(agent, token, boot=False)
    said = "".join(capsys.readouterr())
    assert "guest refused" in said
    for secret in (token, node.boot_token(EVIL), agent.welcome.bridge_secret or "none given"):
        assert secret not in said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_message_is_survived(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of any kind, and messages with fields of any kind, end the one stream at the most."""
    messages = data.draw(st.lists(st.one_of(st.binary(max_size=200), _messages()), max_size=6))
    async with Node(tmp_path, MemoryRecords(), LIMITS).serving(FRONT) as node:
        node.registry.expect(EVIL, boot="vmi-evil")
        async with node.agent(EVIL) as agent:
            token = await agent.settle(node)
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                for message in messages:
                    await agent.raw(message)
                await agent.say(heartbeat=pb.Heartbeat(time=9))
            with contextlib.suppress(EOFError):
                await agent.hear_of("heartbeat_ack")
        async with node.agent(EVIL) as agent:
            await agent.introduce(token, boot=False)


def _messages() -> st.SearchStrategy[bytes]:
    number, text = st.integers(0, 2**32 - 1), st.text(max_size=40)
    huge = st.integers(0, 2**64 - 1)
    container = st.builds(
        pb.ContainerReport, name=text, restart_count=number, last_terminated=st.builds(
            pb.Terminated, exit_code=st.integers(-(2**31), 2**31 - 1), finished_at=huge, reason=text
        ), running=st.builds(pb.Running, started_at=huge),
    )  # fmt: skip
    bodies = st.one_of(
        st.fixed_dictionaries({
            "report": st.builds(pb.PodReport, number=huge, containers=st.lists(container, max_size=3))
        }),
        st.fixed_dictionaries({
            "logs": st.builds(pb.LogBatch, records=st.lists(
                st.builds(pb.LogRecord, container=text, attempt=number, position=huge, time=huge, data=st.binary()),
                max_size=4,
            ))
        }),
        st.fixed_dictionaries({"event": st.builds(pb.GuestEvent, reason=text, container=text, time=huge)}),
        st.fixed_dictionaries({"stream_data": st.builds(pb.StreamData, id=huge, data=st.binary())}),
        st.fixed_dictionaries({"stream_window": st.builds(pb.StreamWindow, id=huge, bytes=number)}),
        st.fixed_dictionaries({"info": st.builds(pb.GuestInfo, hostname=text, memory_bytes=huge, cpus=number)}),
        st.fixed_dictionaries({"metrics": st.builds(pb.MetricsSample, time=huge)}),
    )  # fmt: skip
    return bodies.map(lambda body: pb.GuestMessage(**body).SerializeToString())


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(15):
            return await reader.read()
    except OSError:
        return b""
