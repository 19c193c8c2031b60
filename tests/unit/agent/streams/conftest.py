import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import Run
from kubelet_bridge.agent.host.driver import HostDriver
from kubelet_bridge.agent.streams import Streams
from kubelet_bridge.agent.v1 import agent_pb2 as pb

WINDOW = 128 * 1024


class Bridge:
    """The other end of the conversation: keeps what the guest says and, unless told otherwise, grants at once."""

    def __init__(self, paths: Paths) -> None:
        self.driver = HostDriver(paths, systemd=False)
        self.said: list[pb.GuestMessage] = []
        self.output: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self.granted: dict[int, int] = defaultdict(int)
        self.closed: dict[int, pb.StreamClosed] = {}
        self.grants = True
        self.broken = False
        self.runs: dict[str, Run] = {}
        self.streams = Streams(lambda: self.driver, self.runs.get, self.send, limit=4)
        self._news = asyncio.Event()

    async def send(self, message: pb.GuestMessage) -> None:
        if self.broken:
            raise ConnectionError("gone")
        self.said.append(message)
        if message.HasField("stream_data"):
            data = message.stream_data
            self.output[data.id, data.channel] += data.data
            if self.grants and data.data:
                await self.tell(stream_window=pb.StreamWindow(id=data.id, bytes=len(data.data)))
        elif message.HasField("stream_window"):
            self.granted[message.stream_window.id] += message.stream_window.bytes
        elif message.HasField("stream_closed"):
            assert message.stream_closed.id not in self.closed, "closed twice"
            self.closed[message.stream_closed.id] = message.stream_closed
        self._news.set()

    async def tell(self, **body: object) -> None:
        assert await self.streams.handle(pb.BridgeMessage(**body))  # type: ignore[arg-type]

    async def exec(self, number: int, *command: str, window: int = WINDOW, **fields: object) -> None:
        opened = pb.ExecStream(command=command, **fields)  # type: ignore[arg-type]
        await self.tell(stream_open=pb.StreamOpen(id=number, window=window, exec=opened))

    async def until(self, condition: object) -> None:
        assert callable(condition)
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def end_of(self, number: int) -> pb.StreamClosed:
        await self.until(lambda: number in self.closed)
        return self.closed[number]

    def said_by(self, number: int) -> list[str]:
        """The kinds of messages of one stream, in order."""
        kinds = []
        for message in self.said:
            kind = message.WhichOneof("body")
            if kind is not None and getattr(message, kind).id == number:
                kinds.append(kind)
        return kinds


@pytest.fixture
def paths(tmp_path: object) -> Paths:
    place = Paths(tmp_path / "seed", tmp_path / "state", tmp_path / "run")  # type: ignore[operator]
    place.make()
    return place


@pytest.fixture
async def bridge(paths: Paths) -> AsyncIterator[Bridge]:
    made = Bridge(paths)
    yield made
    await made.streams.close()
    for run in await made.driver.runs():
        await made.driver.stop(run, "SIGKILL", 0)
