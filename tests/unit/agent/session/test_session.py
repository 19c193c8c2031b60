"""The conversation, over real TLS and HTTP/2 against a real gRPC server."""

import asyncio
import json
import logging
import stat

import grpc
import pytest

from kubelet_bridge.agent.session import Session
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from tests.support.guestbridge import BOOT_TOKEN, POD_UID, GuestBridge
from tests.unit.agent.session.conftest import Agent


async def test_the_boot_token_is_exchanged_and_the_session_kept_before_it_is_confirmed(
    bridge: GuestBridge, agent: Agent
) -> None:
    await agent.start()
    stream = await bridge.streams.get()
    assert (stream.hello.pod_uid, stream.hello.token_kind, stream.hello.token) == (
        POD_UID,
        pb.TOKEN_KIND_BOOT,
        BOOT_TOKEN,
    )
    assert len(stream.hello.nonce) >= 16
    assert stream.hello.agent_version == "1.2.3"
    await stream.heard("session_stored")
    path = agent.directory / "session.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"pod_uid": POD_UID, "token": "session-0", "bridge_secret": "secret-0"}


async def test_the_next_connection_uses_the_session_token(bridge: GuestBridge, agent: Agent) -> None:
    await agent.start()
    first = await bridge.streams.get()
    await first.heard("session_stored")
    await agent.stop()
    await agent.start()
    second = await bridge.streams.get()
    assert (second.hello.token_kind, second.hello.token) == (pb.TOKEN_KIND_SESSION, "session-0")
    assert second.hello.nonce != first.hello.nonce
    await second.heard("heartbeat")


@pytest.mark.parametrize("before", [False, True], ids=["after the boot token", "after the session token"])
async def test_nothing_is_done_for_a_bridge_that_cannot_prove_itself(
    bridge: GuestBridge, agent: Agent, before: bool
) -> None:
    heard: list[pb.Welcome] = []
    agent.prepare = lambda session: session.on("welcome", heard.append)
    if before:
        await agent.start()
        await (await bridge.streams.get()).heard("session_stored")
        await agent.stop()
        heard.clear()
    bridge.lie = True
    session = await agent.start()
    session.report(pb.PodReport(reason="secret"))
    for _ in range(2):  # it comes again, and again says nothing but Hello
        stream = await bridge.streams.get()
        await stream.ended.wait()
        assert stream.said.empty()
    assert heard == []
    assert (agent.directory / "session.json").exists() is before


async def test_another_certificate_authority_is_not_talked_to(bridge: GuestBridge, agent: Agent) -> None:
    other = await asyncio.to_thread(GuestBridge)
    await agent.start(ca=other.authority.certificate.decode())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(bridge.streams.get(), 0.3)


async def test_the_certificate_must_be_for_the_bridges_name(bridge: GuestBridge, agent: Agent) -> None:
    await agent.start(server_name="somebody-else")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(bridge.streams.get(), 0.3)


async def test_a_session_that_the_bridge_forgot_is_replaced_by_the_boot_token(
    bridge: GuestBridge, agent: Agent
) -> None:
    await agent.start()
    await (await bridge.streams.get()).heard("session_stored")
    await agent.stop()
    bridge.sessions.clear()
    await agent.start()
    assert (await bridge.streams.get()).hello.token_kind == pb.TOKEN_KIND_SESSION
    stream = await bridge.streams.get()
    assert stream.hello.token_kind == pb.TOKEN_KIND_BOOT
    await stream.heard("session_stored")


async def test_it_comes_back_after_every_kind_of_end(bridge: GuestBridge, agent: Agent) -> None:
    await agent.start()
    for status in (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        stream = await bridge.streams.get()
        await stream.heard("heartbeat")
        stream.end(status)
        await stream.ended.wait()
    await (await bridge.streams.get()).heard("heartbeat")


async def test_it_comes_back_after_the_bridge_was_away(bridge: GuestBridge, agent: Agent) -> None:
    lost: list[bool] = []

    def watch(session: Session) -> None:
        session.on_lost(lambda: lost.append(session.connected))

    agent.prepare = watch
    await agent.start()
    await (await bridge.streams.get()).heard("heartbeat")
    await bridge.stop()
    await asyncio.sleep(0.1)
    await bridge.start()
    await (await bridge.streams.get()).heard("heartbeat")
    assert lost == [False]


async def test_a_bridge_that_says_nothing_is_left(
    bridge: GuestBridge, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubelet_bridge.agent.session.MISSED", 0.1)
    bridge.silent = True
    await agent.start()
    first = await bridge.streams.get()  # nobody answers its heartbeats
    second = await bridge.streams.get()
    await first.ended.wait()
    assert second.hello.token_kind == pb.TOKEN_KIND_SESSION


async def test_a_report_is_sent_until_it_is_acknowledged(bridge: GuestBridge, agent: Agent) -> None:
    session = await agent.start()
    stream = await bridge.streams.get()
    session.report(pb.PodReport(reason="one"))
    first = (await stream.heard("report")).report
    session.report(pb.PodReport(reason="two"))
    second = (await stream.heard("report")).report
    assert second.number > first.number
    await agent.stop()  # neither was acknowledged; only the newest matters

    session = await agent.start()
    stream = await bridge.streams.get()
    again = (await stream.heard("report")).report
    assert again == second
    await stream.say(report_ack=pb.ReportAck(number=again.number))
    assert await session.settle(5.0)
    session.report(pb.PodReport(reason="three"))
    third = (await stream.heard("report")).report
    assert third.number > second.number
    await stream.say(report_ack=pb.ReportAck(number=third.number))
    assert await session.settle(5.0)
    await agent.stop()

    await agent.start()
    stream = await bridge.streams.get()
    await stream.heard("heartbeat")
    assert stream.said.empty()


async def test_events_wait_for_a_connection_even_over_a_restart(bridge: GuestBridge, agent: Agent) -> None:
    await bridge.stop()
    session = await agent.start()
    for number in range(120):
        session.event(pb.GuestEvent(reason=str(number)))
    await asyncio.sleep(0.1)
    await agent.stop()
    await bridge.start()
    await agent.start()
    stream = await bridge.streams.get()
    reasons = [(await stream.heard("event")).event.reason for _ in range(100)]
    assert reasons == [str(number) for number in range(20, 120)]


async def test_the_last_report_waits_for_what_must_be_before_it(bridge: GuestBridge, agent: Agent) -> None:
    order: list[str] = []

    async def before() -> None:
        order.append("logs")

    agent.prepare = lambda session: session.before_the_end(before)
    session = await agent.start()
    stream = await bridge.streams.get()
    session.report(pb.PodReport(finished=True))
    await stream.heard("report")
    assert order == ["logs"]


async def test_messages_are_heard_in_order_and_unknown_ones_passed_on(bridge: GuestBridge, agent: Agent) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    def prepare(session: Session) -> None:
        session.on("manifest", lambda manifest: heard.put_nowait(manifest.revision))
        session.on("", lambda message: heard.put_nowait(message.WhichOneof("body")))

    agent.prepare = prepare
    await agent.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=pb.PodManifest(revision="1"))
    await stream.say(stream_open=pb.StreamOpen(id=1))
    await stream.say(manifest=pb.PodManifest(revision="2"))
    assert [await heard.get() for _ in range(3)] == ["1", "stream_open", "2"]


async def test_a_message_larger_than_the_bridge_takes_is_not_sent(bridge: GuestBridge, agent: Agent) -> None:
    bridge.welcome.max_message_bytes = 1000
    session = await agent.start()
    stream = await bridge.streams.get()
    await stream.heard("heartbeat")
    with pytest.raises(ValueError, match="more than 1000"):
        await session.send(pb.GuestMessage(stream_data=pb.StreamData(data=b"x" * 2000)))
    await session.send(pb.GuestMessage(stream_data=pb.StreamData(data=b"x" * 500)))
    assert len((await stream.heard("stream_data")).stream_data.data) == 500


async def test_a_message_larger_than_we_take_ends_the_connection(
    bridge: GuestBridge, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubelet_bridge.agent.transport.MAX_RECEIVED", 10_000)
    heard: list[pb.PodManifest] = []
    agent.prepare = lambda session: session.on("manifest", heard.append)
    await agent.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=pb.PodManifest(registries_conf=b"x" * 20_000))
    await (await bridge.streams.get()).heard("heartbeat")
    assert heard == []


@pytest.mark.parametrize("nonsense", [b"\xff", b"\x1a\x05\x0a\x80", b"\x1a\x03\x0a\x01\xff", b"\x00" * 1000])
async def test_what_is_no_message_ends_the_connection_and_not_the_agent(
    bridge: GuestBridge, agent: Agent, nonsense: bytes
) -> None:
    await agent.start()
    await (await bridge.streams.get()).say_nonsense(nonsense)
    await (await bridge.streams.get()).heard("heartbeat")


async def test_a_message_that_nobody_can_deal_with_takes_nothing_with_it(
    bridge: GuestBridge, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def fail(_: pb.PodManifest) -> None:
        raise ZeroDivisionError

    def prepare(session: Session) -> None:
        session.on("manifest", fail)
        session.on("manifest", lambda manifest: heard.put_nowait(manifest.revision))

    agent.prepare = prepare
    await agent.start()
    stream = await bridge.streams.get()
    await stream.say(manifest=pb.PodManifest(revision="1"))
    assert await heard.get() == "1"
    assert "cannot be dealt with" in caplog.text
    await stream.heard("heartbeat")
    assert bridge.streams.empty()


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e300])
async def test_heartbeats_whatever_their_period_is_said_to_be(
    bridge: GuestBridge, agent: Agent, seconds: float
) -> None:
    bridge.welcome.heartbeat_seconds = seconds
    await agent.start()
    await (await bridge.streams.get()).heard("heartbeat")


async def test_on_a_full_disk_the_session_is_kept_in_memory(bridge: GuestBridge, agent: Agent) -> None:
    (agent.directory / ".session.json.new").mkdir()  # as good as a full disk, even for root
    await agent.start()
    await (await bridge.streams.get()).heard("session_stored")
    await agent.stop()
    assert not (agent.directory / "session.json").exists()
    await agent.start()
    assert (await bridge.streams.get()).hello.token == "session-0"


async def test_sending_without_a_connection_is_an_error(bridge: GuestBridge, agent: Agent) -> None:
    await bridge.stop()
    session = await agent.start()
    with pytest.raises(ConnectionError):
        await session.send(pb.GuestMessage(metrics=pb.MetricsSample()))


async def test_the_token_is_never_said(bridge: GuestBridge, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bridge.refuse = (grpc.StatusCode.PERMISSION_DENIED, "gone")
    await agent.start()
    for _ in range(3):
        await bridge.streams.get()
    assert "gone" in caplog.text
    assert BOOT_TOKEN not in caplog.text
    assert BOOT_TOKEN not in repr(bridge.seed())
