"""A session over a wire that a test holds in its hands: whose turn it is, what piles up, what is never sent."""

import asyncio

import pytest

from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy import session as session_module
from kubelet_bridge.kubelet_api.spdy.errors import StreamEnded
from kubelet_bridge.kubelet_api.spdy.frames import GoAwayStatus
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from kubelet_bridge.kubelet_api.spdy.session import SpdySession
from tests.support import spdystream


class OneChunk:
    """A wire that brings ``data`` at once, and then waits."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sent = data, b""

    async def receive(self) -> bytes:
        if not self.data:
            await asyncio.Event().wait()
        data, self.data = self.data, b""
        return data

    async def send(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        raise AssertionError


async def test_many_tiny_frames_leave_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_TURN", -1.0)
    number = 40_000
    wire = OneChunk(spdystream.PING_1 * number)
    turns = 0
    async with SpdySession(wire):
        while len(wire.sent) < len(spdystream.PING_1) * number:
            await asyncio.sleep(0)
            turns += 1
    assert wire.sent.startswith(spdystream.PING_1 * number)
    assert turns > number * len(spdystream.PING_1) // 32_768


class Stuck(OneChunk):
    """A wire whose other side takes nothing, and says the same again and again."""

    received = 0
    aborted = False

    async def receive(self) -> bytes:
        self.received += 1
        return self.data

    async def send(self, data: bytes) -> None:
        await asyncio.Event().wait()

    def abort(self) -> None:
        self.aborted = True


async def test_answers_that_are_not_taken_do_not_pile_up() -> None:
    wire = Stuck(spdystream.PING_1 * 4096)
    async with SpdySession(wire, Limits(send_buffer=1000, frame=1000, linger=0.01)) as session:
        for _ in range(200):
            await asyncio.sleep(0)
        assert wire.received == 1
        assert session._outbox._size < 100_000
    assert wire.aborted


async def test_who_waits_to_write_is_told_of_the_end() -> None:
    class Quiet(Stuck):
        receive = OneChunk.receive

    wire = Quiet(spdystream.SYN_ERROR)
    async with SpdySession(wire, Limits(idle=0.1, send_buffer=1000, linger=0.01)) as session:
        stream = await session.accept()
        assert stream is not None
        with pytest.raises(StreamEnded):
            await stream.write(bytes(1_000_000))


async def test_nothing_is_not_sent() -> None:
    sent: list[bytes] = []

    class Listing(OneChunk):
        async def send(self, data: bytes) -> None:
            sent.append(data)

    async with SpdySession(Listing(spdystream.SYN_ERROR + spdystream.FIN_1)) as session:
        stream = await session.accept()
        assert stream is not None
        assert await stream.read() == b""
        await stream.write(b"")
        await stream.close_write()
        while spdystream.FIN_1 not in b"".join(sent):
            await asyncio.sleep(0)
        stream.reset()
        for _ in range(5):
            await asyncio.sleep(0)
    assert all(sent)
    assert b"".join(sent).endswith(frames.goaway(1, GoAwayStatus.OK))
