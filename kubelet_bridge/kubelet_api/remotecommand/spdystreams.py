"""A client that speaks SPDY: a stream for each of error, stdin, stdout, stderr and resize.

From cri-streaming ``remotecommand/httpstream.go``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.client import Input
from kubelet_bridge.kubelet_api.remotecommand.session import Times
from kubelet_bridge.kubelet_api.remotecommand.status import status_json, status_text
from kubelet_bridge.kubelet_api.remotecommand.terminalsizes import TerminalSize, TerminalSizes
from kubelet_bridge.kubelet_api.remotecommand.wants import Wants
from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.kubelet_api.spdy.session import SpdySession
from kubelet_bridge.kubelet_api.spdy.stream import SpdyStream
from kubelet_bridge.kubelet_api.spdy.upgrade import UpgradedWire

ERROR, STDIN, STDOUT, STDERR, RESIZE = "error", "stdin", "stdout", "stderr", "resize"

SUPPORTED = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
"""There is no version 5 over SPDY: whoever offers it offers 4 as well."""


class Version(IntEnum):
    """Of the protocol."""

    V1 = 1
    V2 = 2
    V3 = 3
    V4 = 4

    @classmethod
    def of(cls, protocol: str) -> "Version":
        """By its name, one of ``SUPPORTED``."""
        return cls(len(SUPPORTED) - SUPPORTED.index(protocol))

    def expected(self, wants: Wants) -> frozenset[str]:
        """The streams that a client opens."""
        asked = {
            ERROR: True, STDIN: wants.stdin, STDOUT: wants.stdout, STDERR: wants.stderr,
            RESIZE: wants.tty and self >= Version.V3,
        }  # fmt: skip
        return frozenset(name for name, wanted in asked.items() if wanted)


class SpdyStreams:
    """A ``client.Client``; made by ``connected``."""

    def __init__(self, session: SpdySession, version: Version, creation: float) -> None:
        self._session, self._version, self._creation = session, version, creation
        self._streams: dict[str, SpdyStream] = {}
        self._opened = asyncio.Event()
        self._expected: frozenset[str] = frozenset()
        self._events: asyncio.Queue[Input | TerminalSize | None] = asyncio.Queue(maxsize=1)
        self._gone = False
        self._input_ended = False

    async def ready(self, wants: Wants) -> None:
        """Wait for the streams that belong to ``wants``."""
        self._expected = self._version.expected(wants)
        self._note()
        try:
            async with asyncio.timeout(self._creation):
                await self._opened.wait()
        except TimeoutError as error:
            raise ConnectionAbortedError("timed out waiting for client to create streams") from error
        self._check()

    async def receive(self) -> Input | TerminalSize | None:
        """From both streams, one at a time."""
        return None if self._gone else await self._events.get()

    async def send(self, data: bytes, *, stderr: bool) -> None:
        """On its own stream."""
        await self._write(STDERR if stderr else STDOUT, data)

    async def alive(self) -> None:
        """Clients ping, and are answered by the session."""
        self._check()

    async def finish(self, ended: Ended) -> None:
        """The status, then the end of every stream: clients wait for that of stdout and stderr before they look."""
        if status := status_json(ended) if self._version >= Version.V4 else status_text(ended):
            await self._write(ERROR, status)
        for name, stream in self._streams.items():
            if name != RESIZE:
                await stream.close_write()
            stream.discard()

    async def run(self) -> None:
        """Take in what the client opens and says, until it has gone."""
        async with asyncio.TaskGroup() as group:
            while (stream := await self._session.accept()) is not None:
                if (name := self._take(stream)) is not None:
                    group.create_task(self._listen(name, stream), name=f"remote command: {name}")
            self._gone = True
            self._opened.set()
            with contextlib.suppress(asyncio.QueueFull):
                self._events.put_nowait(None)

    @property
    def silent(self) -> bool:
        """Whether nothing more is to be expected of the client, but its pings."""
        return self._input_ended or STDIN not in self._streams

    def _take(self, stream: SpdyStream) -> str | None:
        name = stream.headers.get("streamtype", "")
        if name in self._streams or name not in (ERROR, STDIN, STDOUT, STDERR, RESIZE):
            stream.reset()
            return None
        self._streams[name] = stream
        self._note()
        return name

    def _note(self) -> None:
        if self._expected and self._expected <= self._streams.keys():
            self._opened.set()

    async def _listen(self, name: str, stream: SpdyStream) -> None:
        if name not in (STDIN, RESIZE):
            stream.discard()
            return
        sizes = TerminalSizes()
        with contextlib.suppress(StreamEnded):
            while data := await stream.read():
                event = Input(data) if name == STDIN else sizes.feed(data)
                if event is not None:
                    await self._events.put(event)
            self._input_ended = self._input_ended or name == STDIN
        if name == STDIN and not self._gone:
            await self._events.put(Input(b""))

    async def _write(self, name: str, data: bytes) -> None:
        try:
            await self._streams[name].write(data)
        except StreamEnded as error:
            raise ConnectionResetError(str(error)) from error

    def _check(self) -> None:
        if self._gone:
            raise ConnectionResetError("the client has gone")


@asynccontextmanager
async def connected(wire: UpgradedWire, protocol: str, times: Times) -> AsyncIterator[SpdyStreams]:
    """The client on a wire, whose streams are ended when the context is left."""
    limits = Limits(idle=times.idle, creation=times.creation)
    async with SpdySession(wire, limits) as session, asyncio.TaskGroup() as group:
        client = SpdyStreams(session, Version.of(protocol), times.creation)
        task = group.create_task(client.run(), name="remote command: streams")
        try:
            yield client
        finally:
            task.cancel()
    if not client.silent:
        await _let_it_go(wire, limits.linger)


async def _let_it_go(wire: UpgradedWire, seconds: float) -> None:
    """Read on until the client ends the connection: closing it while input comes would take our last words back."""
    try:
        async with asyncio.timeout(seconds):
            while await wire.receive():
                pass
    except TimeoutError:
        return
    except asyncio.CancelledError:  # so aiohttp tells that the connection has ended, which is what was waited for
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
