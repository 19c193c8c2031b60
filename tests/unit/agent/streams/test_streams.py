"""Real processes and sockets behind the multiplexer."""

import asyncio
import hashlib

import pytest

from kubelet_bridge.agent.host import process
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .conftest import WINDOW, Bridge

OUT, ERR = pb.CHANNEL_STDOUT, pb.CHANNEL_STDERR


async def test_exec(bridge: Bridge) -> None:
    await bridge.exec(1, "sh", "-c", "echo out; echo err >&2; pwd; exit 3")
    end = await bridge.end_of(1)
    assert (end.exit_code, end.signal, end.error) == (3, 0, pb.STREAM_ERROR_NONE)
    assert bridge.output == {(1, OUT): b"out\n/\n", (1, ERR): b"err\n"}
    assert bridge.said_by(1)[-1] == "stream_closed"


async def test_half_close_and_grants(bridge: Bridge) -> None:
    await bridge.exec(1, "sha1sum", stdin=True)
    data = b"x" * 70_000
    for _ in range(3):
        await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, data=data))
        want = bridge.granted[1] + len(data)
        await bridge.until(lambda want=want: bridge.granted[1] >= want)
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, end=True))
    assert (await bridge.end_of(1)).exit_code == 0
    assert bridge.output[1, OUT].split()[0].decode() == hashlib.sha1(3 * data).hexdigest()  # noqa: S324
    assert bridge.granted[1] == 3 * len(data)


async def test_a_flood_waits_for_the_window(bridge: Bridge) -> None:
    bridge.grants = False
    await bridge.exec(1, "sh", "-c", "yes | head -c 50000000", window=100_000)
    await bridge.until(lambda: len(bridge.output[1, OUT]) == 100_000)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(bridge.output[1, OUT]) == 100_000
    bridge.grants = True
    await bridge.tell(stream_window=pb.StreamWindow(id=1, bytes=100_000))
    assert (await bridge.end_of(1)).exit_code == 0
    assert len(bridge.output[1, OUT]) == 50_000_000


async def test_input_beyond_the_window_ends_it(bridge: Bridge) -> None:
    await bridge.exec(1, "sleep", "1000", stdin=True, window=10)
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, data=b"x" * 11))
    end = await bridge.end_of(1)
    assert end.error == pb.STREAM_ERROR_INTERNAL
    assert "beyond the window" in end.message


async def test_terminal_and_resize(bridge: Bridge) -> None:
    size = pb.TerminalSize(columns=101, rows=41)
    await bridge.exec(1, "sh", "-c", "stty size; read x; stty size", stdin=True, tty=True, size=size)
    await bridge.until(lambda: b"41 101" in bridge.output[1, OUT])
    await bridge.tell(stream_resize=pb.StreamResize(id=1, size=pb.TerminalSize(columns=60, rows=20)))
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, data=b"\r"))
    assert (await bridge.end_of(1)).exit_code == 0
    assert b"20 60" in bridge.output[1, OUT]


async def test_close_ends_the_process(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HANGUP_SECONDS", 0.2)
    await bridge.exec(1, "sh", "-c", "trap '' HUP; echo up; while :; do sleep 0.01; done")
    await bridge.exec(2, "sleep", "1000")
    await bridge.until(lambda: bridge.output[1, OUT])
    await bridge.tell(stream_close=pb.StreamClose(id=1))
    await bridge.tell(stream_close=pb.StreamClose(id=2))
    assert ((await bridge.end_of(1)).signal, (await bridge.end_of(2)).signal) == (9, 1)
    await bridge.streams.close()
    assert bridge.streams.count == 0


async def test_the_end_of_the_connection_ends_all(bridge: Bridge) -> None:
    bridge.grants = False
    await bridge.exec(1, "yes", window=1000)
    await bridge.exec(2, "cat", stdin=True, tty=True)
    await bridge.until(lambda: len(bridge.output[1, OUT]) == 1000)
    bridge.broken = True
    await bridge.streams.close()
    assert bridge.streams.count == 0
    assert bridge.closed == {}


async def test_what_cannot_be_opened(bridge: Bridge) -> None:
    await bridge.exec(1, "no-such-program")
    await bridge.exec(2, "true", container="web")
    await bridge.tell(stream_open=pb.StreamOpen(id=3, window=1))
    await bridge.tell(stream_open=pb.StreamOpen(id=4, window=1, attach=pb.AttachStream(container="web")))
    ends = [await bridge.end_of(number) for number in (1, 2, 3, 4)]
    assert [end.error for end in ends] == [
        pb.STREAM_ERROR_CANNOT_RUN,
        pb.STREAM_ERROR_NO_CONTAINER,
        pb.STREAM_ERROR_INTERNAL,
        pb.STREAM_ERROR_NO_CONTAINER,
    ]
    assert "executable file not found" in ends[0].message


async def test_too_many(bridge: Bridge) -> None:
    for number in range(1, 6):
        await bridge.exec(number, "sleep", "1000")
    assert (await bridge.end_of(5)).error == pb.STREAM_ERROR_LIMIT
    assert bridge.streams.count == 4


async def test_unknown_streams_are_ignored(bridge: Bridge) -> None:
    await bridge.tell(stream_data=pb.StreamData(id=9, data=b"x"))
    await bridge.tell(stream_window=pb.StreamWindow(id=9, bytes=1))
    await bridge.tell(stream_resize=pb.StreamResize(id=9))
    await bridge.tell(stream_close=pb.StreamClose(id=9))
    assert not await bridge.streams.handle(pb.BridgeMessage(shutdown=pb.Shutdown()))
    assert bridge.said == []


async def test_container_exec_and_attach(bridge: Bridge) -> None:
    container = pb.Container(
        name="web",
        command=["sh", "-c", 'read x; echo "got $x"; exit 4'],
        stdin=True,
        env=[pb.EnvVar(name="A", value="b")],
    )
    manifest = pb.PodManifest(containers=[container])
    await bridge.driver.prepare(manifest)
    bridge.runs["web"] = await bridge.driver.start(manifest, container, 0, "")
    await bridge.exec(1, "sh", "-c", "echo $A $B", container="web", env=[pb.EnvVar(name="B", value="c")])
    await bridge.end_of(1)
    assert bridge.output[1, OUT] == b"b c\n"
    opened = pb.AttachStream(container="web", stdin=True)
    await bridge.tell(stream_open=pb.StreamOpen(id=2, window=WINDOW, attach=opened))
    await bridge.tell(stream_data=pb.StreamData(id=2, channel=pb.CHANNEL_STDIN, data=b"this\n"))
    assert (await bridge.end_of(2)).exit_code == 4
    assert bridge.output[2, OUT] == b"got this\n"


async def test_exec_finds_the_environment_that_the_container_was_started_with(bridge: Bridge) -> None:
    container = pb.Container(name="web", command=["sleep", "1000"], env=[pb.EnvVar(name="A", value="old")])
    manifest = pb.PodManifest(containers=[container])
    await bridge.driver.prepare(manifest)
    bridge.runs["web"] = await bridge.driver.start(manifest, container, 0, "")
    manifest.containers[0].env[0].value = "new"
    await bridge.driver.prepare(manifest)
    await bridge.exec(1, "sh", "-c", "echo $A", container="web")
    await bridge.end_of(1)
    assert bridge.output[1, OUT] == b"old\n"


async def test_letting_go_of_a_container_does_nothing_to_it(bridge: Bridge) -> None:
    container = pb.Container(name="web", command=["sleep", "1000"])
    run = bridge.runs["web"] = await bridge.driver.start(pb.PodManifest(), container, 0, "")
    await bridge.tell(stream_open=pb.StreamOpen(id=1, window=10, attach=pb.AttachStream(container="web")))
    await bridge.tell(stream_close=pb.StreamClose(id=1))
    assert (await bridge.end_of(1)).error == pb.STREAM_ERROR_NONE
    assert (await bridge.driver.runs())[0] == run


async def test_port_forward_closes_by_halves(bridge: Bridge) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(everything.upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await bridge.tell(stream_open=pb.StreamOpen(id=1, window=WINDOW, forward=pb.ForwardStream(port=port)))
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, data=b"abc"))
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, end=True))
    end = await bridge.end_of(1)
    assert (end.exit_code, end.error) == (0, pb.STREAM_ERROR_NONE)
    assert bridge.output[1, OUT] == b"ABC"
    assert bridge.said[0].stream_opened.id == 1
    server.close()
    await server.wait_closed()


async def test_port_forward_goes_on_after_the_server_has_sent_all(bridge: Bridge) -> None:
    got = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.write_eof()
        got.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await bridge.tell(stream_open=pb.StreamOpen(id=1, window=WINDOW, forward=pb.ForwardStream(port=port)))
    await bridge.until(lambda: any(one.stream_data.end for one in bridge.said))
    await bridge.tell(stream_data=pb.StreamData(id=1, channel=pb.CHANNEL_STDIN, data=b"late", end=True))
    await bridge.end_of(1)
    assert await got == b"late"
    assert bridge.output[1, OUT] == b"hello"
    server.close()
    await server.wait_closed()


async def test_port_forward_to_nobody(bridge: Bridge) -> None:
    await bridge.tell(stream_open=pb.StreamOpen(id=1, window=1, forward=pb.ForwardStream(port=1)))
    end = await bridge.end_of(1)
    assert end.error == pb.STREAM_ERROR_CANNOT_CONNECT
    assert "connection refused" in end.message
    assert not any(one.HasField("stream_opened") for one in bridge.said)
