"""What a welcomed guest says and is asked, over a real connection."""

import asyncio

import grpc
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.ending import Status
from kubelet_bridge.guest.limits import MIB
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.guest.streams import Chunk, StreamEnd
from kubelet_bridge.model.snapshot import EventType, PodEvent
from tests.support.guests import NONCE, Agent, MemoryRecords, Node, pod_key, soon
from tests.support.rawhttp2 import RawClient, frame

KEY = pod_key("web")


def report(number: int, **more: object) -> pb.PodReport:
    running = pb.ContainerReport(name="app", running=pb.Running(started_at=10**18), ready=True)
    return pb.PodReport(number=number, boot="vmi-1", containers=[running], **more)  # type: ignore[arg-type]


async def connected(node: Node, agent: Agent, **more: object) -> GuestSession:
    node.registry.expect(KEY, boot="vmi-1")
    await agent.settle(node, **more)
    session = node.registry.session(KEY.uid)
    assert session is not None
    return session


async def test_a_report_is_kept_before_it_is_acknowledged(node: Node) -> None:
    assert isinstance(node.records, MemoryRecords)
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        await soon(lambda: (kept := node.records.get(KEY.uid)) is not None and kept.seen_at is not None, "facts kept")
        node.enqueued.clear()
        node.records.refuse = True
        await agent.say(report=report(1))
        await agent.say(heartbeat=pb.Heartbeat(time=1))
        first = await agent.hear()
        assert first.WhichOneof("body") == "heartbeat_ack"
        node.records.refuse = False
        assert (await agent.hear_of("report_ack")).report_ack.number == 1
        guest = node.registry.get(KEY.uid)
        assert guest is not None
        assert guest.report is not None
        assert guest.report.containers[0].ready
        await soon(lambda: KEY in node.enqueued, "the Pod looked at")


async def test_the_last_report_outlives_the_connection(node: Node) -> None:
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        await agent.say(report=report(5, finished=True))
        await agent.hear_of("report_ack")
    await soon(lambda: (found := node.registry.get(KEY.uid)) is not None and not found.connected, "it is gone")
    guest = node.registry.get(KEY.uid)
    assert guest is not None
    assert guest.report is not None
    assert guest.report.finished
    assert guest.since is not None


async def test_the_manifest_follows_the_confirmation_and_its_changes(node: Node) -> None:
    node.registry.expect(KEY, boot="vmi-1")
    node.manifests[KEY.uid] = pb.PodManifest(revision="1", pod_uid=KEY.uid)
    async with node.agent(KEY) as agent:
        await agent.introduce(node.boot_token(KEY))
        await agent.say(heartbeat=pb.Heartbeat(time=1))
        assert (await agent.hear()).WhichOneof("body") == "heartbeat_ack"  # and no manifest before
        await agent.say(session_stored=pb.SessionStored())
        assert (await agent.hear_of("manifest")).manifest.revision == "1"
        node.registry.refresh(KEY)
        node.manifests[KEY.uid] = pb.PodManifest(revision="1", files_revision="b", pod_uid=KEY.uid)
        node.registry.refresh(KEY)
        assert (await agent.hear_of("manifest")).manifest.files_revision == "b"
        node.registry.shut_down(KEY.uid, grace=7, reason="Deleted")
        assert (await agent.hear()).shutdown == pb.Shutdown(grace_seconds=7, reason="Deleted")


async def test_events_are_recorded_on_the_pod(node: Node) -> None:
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        await agent.say(event=pb.GuestEvent(reason="Pulled", message="ok", container="app"))
        await agent.say(
            event=pb.GuestEvent(reason="BackOff", message="x" * 5000, container="i", init=True, warning=True)
        )
        await agent.say(event=pb.GuestEvent(reason="Invented", message="y" * 5000))
        await agent.say(event=pb.GuestEvent(reason="not a reason", message="z"))
        await agent.say(event=pb.GuestEvent(reason="Started", container="../../etc"))
        await soon(lambda: len(node.counters.refusals) == 2, "two refused")
    assert node.events == [
        (KEY, PodEvent(EventType.NORMAL, "Pulled", "ok", "spec.containers{app}")),
        (KEY, PodEvent(EventType.WARNING, "BackOff", "x" * 1024, "spec.initContainers{i}")),
        (KEY, PodEvent(EventType.NORMAL, "Invented", "y" * 256)),
    ]


async def test_logs_are_acknowledged_when_they_are_in_the_file(node: Node) -> None:
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        records = [pb.LogRecord(container="app", position=n, time=n, data=b"line %d" % n) for n in range(1, 4)]
        await agent.say(logs=pb.LogBatch(records=records))
        ack = (await agent.hear_of("log_ack")).log_ack
        assert (ack.container, ack.attempt, ack.position) == ("app", 0, 3)
        assert [line.data for line in await node.logs.read(KEY.uid, "app", 0)] == [b"line 1", b"line 2", b"line 3"]
    async with node.agent(KEY) as agent:
        node.registry.expect(KEY, boot="vmi-2")
        welcome = await agent.introduce(node.boot_token(KEY))
        assert [(one.container, one.position) for one in welcome.logs] == [("app", 3)]


async def test_exec_in_both_directions(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        async with await session.exec("app", ["cat"], stdin=True, tty=True, size=(80, 25)) as stream:
            opened = (await agent.hear_of("stream_open")).stream_open
            assert opened.exec.command == ["cat"]
            assert (opened.exec.size.columns, opened.exec.size.rows) == (80, 25)
            await stream.write(b"hello")
            stream.resize(100, 30)
            await stream.close_stdin()
            assert (await agent.hear_of("stream_data")).stream_data.data == b"hello"
            assert (await agent.hear_of("stream_resize")).stream_resize.size.columns == 100
            assert (await agent.hear_of("stream_data")).stream_data.end
            out = pb.StreamData(id=opened.id, channel=pb.CHANNEL_STDOUT, data=b"HELLO")
            await agent.say(stream_data=out)
            await agent.say(stream_closed=pb.StreamClosed(id=opened.id, exit_code=3))
            assert await stream.read() == Chunk(pb.CHANNEL_STDOUT, b"HELLO")
            assert await stream.read() is None
            assert await stream.result() == StreamEnd(3)


async def test_windows_hold_both_sides_back(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        stream = await session.forward(8080)
        opened = (await agent.hear_of("stream_open")).stream_open
        assert opened.forward.port == 8080
        writing = asyncio.get_running_loop().create_task(stream.write(b"x" * (opened.window + 1000)))
        received = 0
        while received < opened.window:
            received += len((await agent.hear_of("stream_data")).stream_data.data)
        assert received == opened.window
        assert not writing.done()
        await agent.say(stream_window=pb.StreamWindow(id=opened.id, bytes=5000))
        assert len((await agent.hear_of("stream_data")).stream_data.data) == 1000
        await writing
        half = pb.StreamData(id=opened.id, channel=pb.CHANNEL_STDOUT, data=b"y" * (opened.window // 2))
        await agent.say(stream_data=half)
        await agent.say(stream_data=half)
        assert len(((await stream.read()) or half).data) == opened.window // 2
        assert (await agent.hear_of("stream_window")).stream_window.bytes == opened.window // 2
        stream.close()
        assert (await agent.hear_of("stream_close")).stream_close.id == opened.id


async def test_a_forwarded_connection_says_when_it_stands(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        stream = await session.forward(80)
        waiting = asyncio.get_running_loop().create_task(stream.opened())
        opened = (await agent.hear_of("stream_open")).stream_open
        assert not waiting.done()
        await agent.say(stream_opened=pb.StreamOpened(id=opened.id))
        assert await waiting
        refused = await session.forward(81)
        opened = (await agent.hear_of("stream_open")).stream_open
        end = pb.StreamClosed(id=opened.id, error=pb.STREAM_ERROR_CANNOT_CONNECT, message="connection refused")
        await agent.say(stream_closed=end)
        assert not await refused.opened()
        assert (await refused.result()).message == "connection refused"
        lost = await session.forward(82)
    with pytest.raises(Transient, match="not connected"):
        await lost.opened()


async def test_an_agent_of_before_does_not_say_when_a_connection_stands(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent, protocol_version=1)
        assert await (await session.forward(80)).opened()


async def test_more_than_the_window_ends_the_connection(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        stream = await session.forward(1)
        opened = (await agent.hear_of("stream_open")).stream_open
        piece = pb.StreamData(id=opened.id, channel=pb.CHANNEL_STDOUT, data=b"y" * (opened.window // 2 + 1))
        await agent.say(stream_data=piece)
        await agent.say(stream_data=piece)
        assert await agent.refusal() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(Transient, match="not connected"):
            await stream.result()


async def test_whoever_waits_for_a_guest_that_goes_is_told(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        stream = await session.attach("app", stdin=True)
        loop = asyncio.get_running_loop()
        waiting = [
            loop.create_task(stream.read()),
            loop.create_task(session.probe("app", pb.Handler(exec=pb.Exec(command=["true"])), seconds=30)),
            loop.create_task(session.run_hook("freeze", ["fsfreeze"], seconds=30)),
        ]
        await agent.hear_of("run_hook")
    for one in waiting:
        with pytest.raises(Transient, match="not connected"):
            await one
    with pytest.raises(Transient, match="not connected"):
        await session.exec("app", ["true"])


async def test_probes_and_hooks_have_answers(node: Node) -> None:
    async with node.agent(KEY) as agent:
        session = await connected(node, agent)
        handler = pb.Handler(tcp_socket=pb.TcpSocket(port=80))
        probing = asyncio.get_running_loop().create_task(session.probe("app", handler, seconds=1))
        asked = (await agent.hear_of("probe_request")).probe_request
        assert asked.handler == handler
        await agent.say(probe_result=pb.ProbeResult(id=asked.id + 9, outcome=pb.OUTCOME_FAILURE))
        await agent.say(probe_result=pb.ProbeResult(id=asked.id, outcome=pb.OUTCOME_SUCCESS))
        assert (await probing).outcome == pb.OUTCOME_SUCCESS


async def test_a_replaced_machine_is_disconnected(node: Node) -> None:
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        node.registry.expect(KEY, boot="vmi-2")
        assert await agent.refusal() == grpc.StatusCode.UNAVAILABLE


async def test_an_unconfirmed_session_token_confirms_itself(node: Node) -> None:
    node.registry.expect(KEY, boot="vmi-1")
    async with node.agent(KEY) as agent:
        token = (await agent.introduce(node.boot_token(KEY))).session_token
    async with node.agent(KEY) as again:
        await again.introduce(token, boot=False)
        kept = node.records.get(KEY.uid)
        assert kept is not None
        assert (kept.used_boot, kept.pending_hash) == ("vmi-1", "")


async def test_after_the_records_are_lost_the_boot_token_is_good_again(node: Node) -> None:
    assert isinstance(node.records, MemoryRecords)
    async with node.agent(KEY) as agent:
        await connected(node, agent)
        token = agent.welcome.session_token
    await soon(lambda: (found := node.registry.get(KEY.uid)) is not None and not found.connected, "it is gone")
    node.records.kept.clear()
    async with node.agent(KEY) as agent:
        with pytest.raises(EOFError):
            await agent.introduce(token, boot=False)
        assert await agent.refusal() == grpc.StatusCode.UNAUTHENTICATED
    async with node.agent(KEY) as agent:
        assert (await agent.introduce(node.boot_token(KEY))).session_token


async def test_a_guest_that_vanishes_is_a_line_in_the_log_and_no_more(
    node: Node, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was being said to it in that moment."""
    node.registry.expect(KEY, boot="vmi-1")
    hello = pb.Hello(
        protocol_version=1, pod_uid=KEY.uid, token_kind=pb.TOKEN_KIND_BOOT, token=node.boot_token(KEY), nonce=NONCE
    )
    for turn in range(8):
        client = await RawClient.connect(node.port, node.authority.certificate)
        stream = await client.open()
        await client.send(stream, frame(pb.GuestMessage(hello=hello).SerializeToString()))
        await soon(lambda: node.registry.session(KEY.uid) is not None, "welcomed")
        session = node.registry.session(KEY.uid)
        assert session is not None
        node.manifests[KEY.uid] = pb.PodManifest(revision=str(turn), registries_conf=b"x" * (1 + turn % 2 * 4 * MIB))
        session.trust()
        await asyncio.sleep(0.005 * turn)
        client.abort()
        if turn % 4 == 1:
            session.end(Status.UNAVAILABLE, "at the same time")
        await soon(lambda: node.registry.session(KEY.uid) is None, "gone")
    await asyncio.sleep(0.1)
    assert [one for one in caplog.records if one.levelname in ("ERROR", "CRITICAL")] == []
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert said.count("guest disconnected") == 8
