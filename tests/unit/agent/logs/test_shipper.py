"""Logs over a wire that the test holds in its hands: what arrives, what is acknowledged, when it breaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.agent.logs import shipper as shipping
from kubelet_bridge.agent.logs.shipper import Shipper
from kubelet_bridge.agent.v1 import agent_pb2 as pb

STAMP = b"2016-10-06T00:17:09.669794202Z stdout F "


def lines(first: int, last: int) -> bytes:
    return b"".join(STAMP + b"line %d\n" % number for number in range(first, last + 1))


class Bridge:
    """The other end: appends what is new, as the protocol demands, and acknowledges as the test says."""

    def __init__(self) -> None:
        self.connected = False
        self.acknowledging = True
        self.stored: dict[tuple[str, int], list[pb.LogRecord]] = {}
        self.sent_bytes = 0
        self._handlers: dict[str, list[Callable[[Any], None]]] = {}
        self.news = asyncio.Event()

    def on(self, body: str, handler: Callable[[Any], None]) -> None:
        self._handlers.setdefault(body, []).append(handler)

    async def send(self, message: pb.GuestMessage) -> None:
        if not self.connected:
            raise ConnectionError("gone")
        for record in message.logs.records:
            log = self.stored.setdefault((record.container, record.attempt), [])
            self.sent_bytes += len(record.data)
            if not log or record.position > log[-1].position:
                log.append(record)
        if self.acknowledging:
            self.acknowledge()
        self.news.set()

    def acknowledge(self) -> None:
        for container, attempt in self.stored:
            self._tell("log_ack", self.position(container, attempt))

    def position(self, container: str, attempt: int) -> pb.LogAck:
        log = self.stored[container, attempt]
        return pb.LogAck(container=container, attempt=attempt, position=log[-1].position)

    def connect(self) -> None:
        self.connected = True
        self._tell("welcome", pb.Welcome(logs=[self.position(*key) for key in self.stored]))

    def _tell(self, body: str, content: object) -> None:
        for handler in self._handlers.get(body, []):
            handler(content)

    async def until(self, container: str, attempt: int, last: bytes) -> list[pb.LogRecord]:
        while True:
            log = self.stored.get((container, attempt), [])
            if log and log[-1].data == last:
                return log
            self.news.clear()
            await self.news.wait()


class Guest:
    """A shipper that can be killed and begun again."""

    def __init__(self, bridge: Bridge, directory: Path) -> None:
        self.bridge = bridge
        self.directory = directory
        self.shipper: Shipper
        self._task: asyncio.Task[None] | None = None

    def start(self, **options: int) -> Shipper:
        self.bridge._handlers.clear()
        self.shipper = Shipper(self.bridge, self.directory / "logs.json", **options)
        self._task = asyncio.get_running_loop().create_task(self.shipper.run())
        return self.shipper

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


@pytest.fixture
async def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Guest]:
    monkeypatch.setattr(shipping, "_SLOW", 0.05)
    monkeypatch.setattr(shipping, "_TIDY_SECONDS", 0.05)
    monkeypatch.setattr(shipping, "_SAVE_SECONDS", 0.0)
    guest = Guest(Bridge(), tmp_path)
    yield guest
    await guest.kill()


def assert_exactly(log: list[pb.LogRecord], last: int) -> None:
    assert [(one.position, one.data) for one in log] == [(n, b"line %d" % n) for n in range(1, last + 1)]
    assert not any(one.lost for one in log)


async def test_what_is_written_arrives(guest: Guest) -> None:
    path = guest.directory / "0.log"
    shipper = guest.start()
    shipper.follow("app", 0, str(path))
    guest.bridge.connect()
    path.write_bytes(lines(1, 3))
    await guest.bridge.until("app", 0, b"line 3")
    with path.open("ab") as file:
        file.write(lines(4, 4))
    log = await guest.bridge.until("app", 0, b"line 4")
    assert_exactly(log, 4)
    assert log[0].time == 1475713029_669794202
    assert log[0].stream == pb.LOG_STREAM_STDOUT
    assert await shipper.drained(5.0)


@pytest.mark.parametrize("acknowledging", [True, False], ids=["acknowledged", "not acknowledged"])
async def test_exactly_once_over_broken_connections_and_restarts(guest: Guest, acknowledging: bool) -> None:
    path = guest.directory / "0.log"
    guest.bridge.acknowledging = acknowledging
    written = 0
    for turn in range(6):
        shipper = guest.start()
        shipper.follow("app", 0, str(path))
        guest.bridge.connect()
        with path.open("ab") as file:
            file.write(lines(written + 1, written + 700))
        written += 700
        if turn % 2:
            await guest.bridge.until("app", 0, b"line %d" % written)
        else:
            await asyncio.sleep(0.02)
        guest.bridge.connected = False
        await guest.kill()
    guest.bridge.acknowledging = True
    guest.start()  # which remembers what to follow
    guest.bridge.connect()
    assert_exactly(await guest.bridge.until("app", 0, b"line %d" % written), written)


async def test_exactly_once_when_the_checkpoint_is_lost(guest: Guest) -> None:
    path = guest.directory / "0.log"
    path.write_bytes(lines(1, 500))
    guest.start().follow("app", 0, str(path))
    guest.bridge.connect()
    await guest.bridge.until("app", 0, b"line 500")
    await guest.kill()
    (guest.directory / "logs.json").unlink(missing_ok=True)
    with path.open("ab") as file:
        file.write(lines(501, 600))
    guest.start().follow("app", 0, str(path))
    guest.bridge.connect()
    assert_exactly(await guest.bridge.until("app", 0, b"line 600"), 600)


async def test_an_end_waits_for_all_of_the_log_to_be_on_its_way(guest: Guest) -> None:
    path = guest.directory / "0.log"
    path.write_bytes(lines(1, 40_000))
    guest.bridge.acknowledging = False
    shipper = guest.start()
    shipper.follow("app", 0, str(path))
    guest.bridge.connect()
    while not guest.bridge.stored:
        await asyncio.sleep(0.01)
    ended = asyncio.get_running_loop().create_task(shipper.ended("app", 0))
    await asyncio.sleep(0.3)
    assert not ended.done()  # more than may be on its way
    guest.bridge.acknowledging = True
    guest.bridge.acknowledge()
    await ended
    assert guest.bridge.stored["app", 0][-1].data == b"line 40000"


async def test_an_end_waits_for_nothing_without_a_connection(guest: Guest) -> None:
    path = guest.directory / "0.log"
    path.write_bytes(lines(1, 10))
    shipper = guest.start()
    shipper.follow("app", 0, str(path))
    await shipper.ended("app", 0)
    assert not guest.bridge.stored


async def test_a_restart_does_not_read_again_what_was_acknowledged(guest: Guest) -> None:
    path = guest.directory / "0.log"
    path.write_bytes(lines(1, 500))
    shipper = guest.start()
    shipper.follow("app", 0, str(path))
    guest.bridge.connect()
    await guest.bridge.until("app", 0, b"line 500")
    assert await shipper.drained(5.0)
    await asyncio.sleep(0.1)
    await guest.kill()
    guest.bridge.sent_bytes = 0
    path.write_bytes(path.read_bytes().replace(b"line", b"LINE") + lines(501, 501))  # only the new part is looked at
    guest.start().follow("app", 0, str(path))
    guest.bridge.connect()
    log = await guest.bridge.until("app", 0, b"line 501")
    assert len(log) == 501
    assert guest.bridge.sent_bytes == len(b"line 501")


async def test_no_more_than_a_mebibyte_is_on_its_way(guest: Guest) -> None:
    path = guest.directory / "0.log"
    path.write_bytes(lines(1, 100_000))
    guest.bridge.acknowledging = False
    guest.start().follow("app", 0, str(path))
    guest.bridge.connect()
    await asyncio.sleep(0.5)
    assert 0 < guest.bridge.sent_bytes <= 1024 * 1024
    guest.bridge.acknowledging = True
    guest.bridge.acknowledge()
    assert_exactly(await guest.bridge.until("app", 0, b"line 100000"), 100_000)


async def test_the_oldest_of_too_much_is_given_up_and_counted(guest: Guest) -> None:
    path = guest.directory / "0.log"
    shipper = guest.start(backlog=100_000)
    shipper.follow("app", 0, str(path))
    path.write_bytes(lines(1, 50_000))
    await asyncio.sleep(0.3)  # there is no connection
    guest.bridge.connect()
    log = await guest.bridge.until("app", 0, b"line 50000")
    assert log[0].lost > 0
    assert log[0].position == log[0].lost + 1
    assert log[0].data == b"line %d" % log[0].position
    assert [one.position for one in log] == list(range(log[0].position, 50_001))


async def test_rotation(guest: Guest) -> None:
    path = guest.directory / "0.log"
    guest.start().follow("app", 0, str(path))
    guest.bridge.connect()
    for turn in range(5):
        path.write_bytes(lines(turn * 100 + 1, turn * 100 + 100))
        await guest.bridge.until("app", 0, b"line %d" % (turn * 100 + 100))
        path.rename(guest.directory / "0.log.1")
    assert_exactly(guest.bridge.stored["app", 0], 500)


async def test_logs_of_former_runs_go_when_they_have_arrived_and_the_last_stays(guest: Guest) -> None:
    shipper = guest.start()
    guest.bridge.connect()
    paths = [guest.directory / f"{attempt}.log" for attempt in range(3)]
    for attempt, path in enumerate(paths):
        path.write_bytes(lines(1, 3) + STAMP + b"no end")
        shipper.follow("app", attempt, str(path))
        await shipper.ended("app", attempt)
        await guest.bridge.until("app", attempt, b"no end")
    while paths[0].exists() or paths[1].exists():
        await asyncio.sleep(0.02)
    assert paths[2].exists()
