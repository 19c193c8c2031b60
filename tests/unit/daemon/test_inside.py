"""The ways into a Pod's machine: which is taken, and what it says when there is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.daemon.inside.finder import Finder
from kubelet_bridge.daemon.inside.podports import Dial
from kubelet_bridge.daemon.inside.streams import ended
from kubelet_bridge.errors import BridgeError, NotFound, Terminal, Transient
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.guest.streams import Chunk, StreamEnd
from kubelet_bridge.kubelet_api.ports import Connection, ContainerRef, Ended, Output, PodRef, Process, Workload
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Hosting, Intent
from tests.support.pods import UID, pod

ROW = Intent(
    uid=UID, id="dpl_1", namespace="shop", name="web", vm_name="web", hosting=Hosting.OCI,
    accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
REF = ContainerRef("shop", "web", "app")


class Stream:
    """A guest's stream that says ``chunks`` and ends so."""

    def __init__(self, chunks: list[Chunk], end: StreamEnd) -> None:
        self.chunks, self.end, self.heard = chunks, end, list[bytes]()
        self.left = False

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True

    async def read(self) -> Chunk | None:
        return self.chunks.pop(0) if self.chunks else None

    async def write(self, data: bytes) -> None:
        self.heard.append(data)

    async def close_stdin(self) -> None:
        self.heard.append(b"<end>")

    def resize(self, columns: int, rows: int) -> None:
        self.heard.append(f"<{columns}x{rows}>".encode())

    async def opened(self) -> bool:
        return not self.end.error

    async def result(self) -> StreamEnd:
        return self.end


class Session:
    """An agent that answers everything with ``stream``, and what it was asked for."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.asked = stream, list[Any]()

    async def exec(self, container: str, command: list[str], *, stdin: bool, tty: bool) -> Stream:
        self.asked.append(("exec", container, command, stdin, tty))
        return self.stream

    async def attach(self, container: str, *, stdin: bool, tty: bool) -> Stream:
        self.asked.append(("attach", container, stdin, tty))
        return self.stream

    async def forward(self, port: int) -> Stream:
        self.asked.append(("forward", port))
        return self.stream


class Console:
    tty = True

    def __init__(self, why: str) -> None:
        self.why = why

    @asynccontextmanager
    async def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AsyncIterator[Process]:
        raise Transient(self.why)
        yield

    @asynccontextmanager
    async def attach(self, *, stdin: bool) -> AsyncIterator[Process]:
        yield cast("Process", "the console")


class Machines:
    """KubeVirt, which relays to whoever asks."""

    def console(self, namespace: str, vm: str, why: str) -> Workload:
        return Console(f"{namespace}/{vm}: {why}")

    def screen(self, namespace: str, vm: str) -> Dial:
        return partial(self._relayed, f"screen of {namespace}/{vm}")

    def port(self, namespace: str, vm: str, port: int) -> Dial:
        return partial(self._relayed, f"port {port} of {namespace}/{vm}")

    @asynccontextmanager
    async def _relayed(self, what: str) -> AsyncIterator[Connection]:
        yield cast("Connection", what)


def finder(one: Pod | None, row: Intent | None, session: Session | None = None) -> Finder:
    return Finder(
        lambda namespace, name: one if (namespace, name) == ("shop", "web") else None,
        lambda uid: row if uid == UID else None, lambda _: cast("GuestSession | None", session), Machines(),
    )  # fmt: skip


def at(address: str, **spec: Any) -> Pod:
    made = pod(spec or None)
    return msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, pod_ip=address))


@pytest.mark.parametrize("ref", [ContainerRef("shop", "other", "app"), ContainerRef("shop", "web", "app", uid="other")])
def test_no_such_pod(ref: ContainerRef) -> None:
    with pytest.raises(NotFound, match="pod does not exist"):
        finder(pod(), ROW).container(ref)
    with pytest.raises(NotFound, match="pod does not exist"):
        finder(pod(), ROW).ports(PodRef(ref.namespace, ref.pod, ref.uid))


def test_no_such_container_and_no_machine_yet() -> None:
    with pytest.raises(Terminal, match='container not found \\("nobody"\\)'):
        finder(pod(), ROW).container(ContainerRef("shop", "web", "nobody", uid=UID))
    for row in (None, msgspec.structs.replace(ROW, vm_name="")):
        with pytest.raises(Transient, match="no virtual machine yet"):
            finder(pod(), row).container(REF)


async def test_exec_goes_to_the_agent() -> None:
    chunks = [Chunk(pb.CHANNEL_STDOUT, b"out"), Chunk(pb.CHANNEL_STDERR, b"err"), Chunk(pb.CHANNEL_STDERR, b"")]
    session = Session(Stream(chunks, StreamEnd(3)))
    workload = finder(pod(), ROW, session).container(REF)
    async with workload.exec(["ls", "-l"], stdin=True, tty=False) as process:
        assert [await process.read() for _ in range(4)] == [
            Output(False, b"out"), Output(True, b"err"), Output(True, b""), None,
        ]  # fmt: skip
        await process.write(b"in")
        process.resize(80, 24)
        await process.close_stdin()
        assert await process.result() == Ended(3)
    assert session.asked == [("exec", "app", ["ls", "-l"], True, False)]
    assert session.stream.heard == [b"in", b"<80x24>", b"<end>"]
    assert session.stream.left


async def test_a_machine_that_is_its_container_is_entered_itself_and_attached_by_its_console() -> None:
    session = Session(Stream([], StreamEnd(0)))
    row = msgspec.structs.replace(ROW, hosting=Hosting.MACHINE)
    workload = finder(pod(), row, session).container(REF)
    async with workload.exec(["id"], stdin=False, tty=False):
        pass
    async with workload.attach(stdin=True) as process:
        assert cast("Any", process) == "the console"
    assert workload.tty
    assert session.asked == [("exec", "", ["id"], False, False)]


@pytest.mark.parametrize("declared", [False, True])
async def test_input_is_attached_only_where_the_container_has_some(declared: bool) -> None:
    session = Session(Stream([], StreamEnd(0)))
    one = pod({"containers": [{"name": "app", "image": "a", "stdin": declared, "tty": True}]})
    workload = finder(one, ROW, session).container(REF)
    async with workload.attach(stdin=True):
        pass
    assert workload.tty
    assert session.asked == [("attach", "app", declared, True)]


async def test_without_an_agent_there_is_the_console() -> None:
    workload = finder(pod(), ROW).container(REF)
    with pytest.raises(Transient, match="shop/web: it is not connected"):
        async with workload.exec(["ls"], stdin=False, tty=False):
            pass


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (StreamEnd(0), Ended(0)),
        (StreamEnd(255), Ended(255)),
        (StreamEnd(-1), Ended(255)),
        (StreamEnd(0, signal=9), Ended(137)),
        (StreamEnd(127, error=pb.STREAM_ERROR_CANNOT_RUN, message="no such file"), Ended(error="no such file")),
        (StreamEnd(0, error=pb.STREAM_ERROR_LIMIT), Ended(error="STREAM_ERROR_LIMIT")),
    ],
)
def test_how_a_process_ended(end: StreamEnd, told: Ended) -> None:
    assert ended(end) == told


async def reached(one: Finder, port: int) -> Any:
    async with one.ports(PodRef("shop", "web")).connect(port) as connection:
        return connection


REFUSED = StreamEnd(0, error=pb.STREAM_ERROR_CANNOT_CONNECT, message="dial tcp 127.0.0.1: connection refused")


async def test_the_loopback_of_the_guest_goes_first() -> None:
    session = Session(Stream([Chunk(pb.CHANNEL_STDOUT, b"hello"), Chunk(pb.CHANNEL_STDOUT, b"")], StreamEnd(0)))
    async with finder(at("127.0.0.1"), ROW, session).ports(PodRef("shop", "web")).connect(5900) as connection:
        await connection.write(b"hi")
        await connection.write_eof()
        assert await connection.read() == b"hello"
        assert await connection.read() == b""
    assert session.asked == [("forward", 5900)]
    assert session.stream.heard == [b"hi", b"<end>"]
    assert session.stream.left


async def test_then_the_address_of_the_pod() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for session in (None, Session(Stream([], REFUSED))):
        async with finder(at("127.0.0.1"), ROW, session).ports(PodRef("shop", "web")).connect(port) as connection:
            await connection.write(b"hello")
            await connection.write_eof()
            assert await connection.read() == b"HELLO"
            assert await connection.read() == b""
    server.close()
    await server.wait_closed()


async def test_then_the_screen_and_what_kubevirt_relays() -> None:
    assert await reached(finder(at("127.0.0.1"), ROW), 5900) == "screen of shop/web"
    assert await reached(finder(at("127.0.0.1"), ROW, Session(Stream([], REFUSED))), 5900) == "screen of shop/web"
    assert await reached(finder(at("127.0.0.1"), ROW), 1) == "port 1 of shop/web"
    assert await reached(finder(at(""), ROW), 22) == "port 22 of shop/web"


async def test_what_the_first_way_met_is_told() -> None:
    with pytest.raises(BridgeError, match=r"dial tcp 127\.0\.0\.1: connection refused"):
        await reached(finder(at("127.0.0.1"), ROW, Session(Stream([], REFUSED))), 1)
    with pytest.raises(BridgeError, match="no address yet"):
        await reached(finder(at(""), None), 80)


async def test_an_error_while_a_connection_is_used_is_not_taken_for_one_of_making_it() -> None:
    with pytest.raises(Transient, match="the guest went away"):
        async with finder(at(""), ROW).ports(PodRef("shop", "web")).connect(22):
            raise Transient("the guest went away")
