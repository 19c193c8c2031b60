"""The log store: idempotent, bounded, mended after a crash."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.guest.logfile import LogFile, decode, encode, lines
from kubelet_bridge.guest.logs import LogStore

UID = "0b6e8f0a-1111-4222-8333-abcdefabcdef"
SMALL = LogLimits(file_bytes=400, files=3, containers=2)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LogStore]:
    async with LogStore(tmp_path, SMALL) as opened:
        yield opened


def record(position: int, data: bytes = b"data", **more: object) -> pb.LogRecord:
    return pb.LogRecord(container="app", position=position, time=position, data=data, **more)  # type: ignore[arg-type]


async def read(store: LogStore, *, since: int = 0, attempt: int = 0) -> list[int]:
    return [line.position for line in await store.read(UID, "app", attempt, since=since)]


async def test_what_came_before_is_dropped(store: LogStore) -> None:
    await store.append(UID, [record(1), record(2), record(3)])
    again = await store.append(UID, [record(2), record(3), record(4)])
    assert [ack.position for ack in again.acks] == [4]
    assert await read(store) == [1, 2, 3, 4]
    assert await read(store, since=2) == [3, 4]


async def test_runs_are_apart(store: LogStore) -> None:
    await store.append(UID, [record(1), record(1, attempt=1), record(2, attempt=1)])
    assert await store.attempts(UID, "app") == [0, 1]
    assert [(one.attempt, one.position) for one in await store.positions(UID)] == [(0, 1), (1, 2)]


async def test_old_files_are_dropped_and_reading_goes_on_after_them(store: LogStore, tmp_path: Path) -> None:
    for position in range(1, 101):
        await store.append(UID, [record(position, b"x" * 50)])
    files = await asyncio.to_thread(lambda: list((tmp_path / UID / "app").iterdir()))
    assert len(files) == 3
    assert all(file.stat().st_size <= 400 for file in files)
    kept = await read(store)
    assert kept == list(range(kept[0], 101))
    assert await read(store, since=95) == [96, 97, 98, 99, 100]


async def test_rotated_logs_go_on_where_they_were(tmp_path: Path) -> None:
    async with LogStore(tmp_path, SMALL) as store:
        for position in range(1, 8):
            await store.append(UID, [record(position, b"x" * 50)])
    newest = tmp_path / UID / "app" / "0.log"
    await asyncio.to_thread(newest.write_bytes, b"")
    async with LogStore(tmp_path, SMALL) as store:
        before = (await store.positions(UID))[0].position
        assert before > 1
        appended = await store.append(UID, [record(before), record(before + 1)])
        assert appended.acks[0].position == before + 1
        assert await read(store, since=before - 1) == [before, before + 1]


@pytest.mark.parametrize("torn", [b"4 0 7 oF half", b"4", b"\xff\xfe", b"\0" * 200_000, b"junk\n\n\0\n" * 9000])
async def test_half_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    async with LogStore(tmp_path, SMALL) as store:
        await store.append(UID, [record(1), record(2), record(3)])

    def tear() -> None:
        with (tmp_path / UID / "app" / "0.log").open("ab") as file:
            file.write(torn)

    await asyncio.to_thread(tear)
    async with LogStore(tmp_path, SMALL) as store:
        assert (await store.positions(UID))[0].position == 3
        assert await read(store) == [1, 2, 3]
        await store.append(UID, [record(4)])
        assert await read(store) == [1, 2, 3, 4]


async def test_names_that_lead_elsewhere_are_acknowledged_and_not_written(store: LogStore, tmp_path: Path) -> None:
    evil = pb.LogRecord(container="../../../etc", position=7, data=b"x")
    assert (await store.append(UID, [evil])).acks[0].position == 7
    assert (await store.append("../up", [record(3)])).acks[0].position == 3
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("*"))) == []


async def test_a_pod_has_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    limits = LogLimits(file_bytes=400, files=3, containers=10, pod_bytes=4000)
    async with LogStore(tmp_path, limits) as store:
        for position in range(1, 41):
            for number in range(8):
                await store.append(UID, [pb.LogRecord(container=f"c{number}", position=position, data=b"x" * 50)])
        assert (await store.read(UID, "c7", 0))[-1].position == 40
    assert sum(one.stat().st_size for one in tmp_path.rglob("*.log*") if one.is_file()) <= 4000


async def test_logs_leave_room_on_the_disk(tmp_path: Path) -> None:
    async with LogStore(tmp_path, LogLimits(reserve=2**62)) as store:
        with pytest.raises(Transient, match="not for logs"):
            await store.append(UID, [record(1)])
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("*.log"))) == []


async def test_a_pod_has_so_many_containers_and_no_more(store: LogStore, tmp_path: Path) -> None:
    names = [pb.LogRecord(container=f"c{number}", position=1) for number in range(10)]
    await store.append(UID, names)
    assert len(await asyncio.to_thread(lambda: list((tmp_path / UID).iterdir()))) == 2


async def test_removed_logs_are_gone_and_others_stay(store: LogStore, tmp_path: Path) -> None:
    for uid in (UID, "other", "third"):
        await store.append(uid, [record(1)])
    await store.remove("third")
    await store.keep_only({UID})
    assert await asyncio.to_thread(lambda: [one.name for one in tmp_path.iterdir()]) == [UID]
    await store.append("other", [record(1)])  # its file is opened anew
    assert [line.position for line in await store.read("other", "app", 0)] == [1]


async def test_a_disk_that_refuses_costs_nothing_but_time(store: LogStore, tmp_path: Path) -> None:
    await store.append(UID, [record(1)])
    await store.remove(UID)
    await asyncio.to_thread((tmp_path / UID).write_bytes, b"in the way")
    with pytest.raises(Transient):
        await store.append(UID, [record(2)])
    await asyncio.to_thread((tmp_path / UID).unlink)
    assert (await store.append(UID, [record(2)])).acks[0].position == 2


async def test_who_follows_is_told(store: LogStore) -> None:
    following = asyncio.get_running_loop().create_task(store.changed(UID))
    await asyncio.sleep(0)
    await store.append(UID, [record(1)])
    async with asyncio.timeout(5):
        await following


@given(
    data=st.binary(max_size=200), position=st.integers(1, 2**63 - 1), time=st.integers(0, 2**64 - 1),
    lost=st.integers(0, 2**64 - 1), stderr=st.booleans(), partial=st.booleans(),
)  # fmt: skip
def test_a_line_says_what_the_record_said(
    data: bytes, position: int, time: int, lost: int, stderr: bool, partial: bool
) -> None:
    stream = pb.LOG_STREAM_STDERR if stderr else pb.LOG_STREAM_STDOUT
    line = encode(record(position, data, stream=stream, partial=partial, lost=lost))
    assert line.count(b"\n") == 1
    found = decode(line[:-1])
    assert (found.position, found.lost, found.stderr, found.partial) == (position, lost, stderr, partial)
    assert found.data == data.replace(b"\n", b" ")


@settings(deadline=None)
@given(data=st.data())
def test_a_log_cut_anywhere_is_completed_by_sending_it_again(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a crash leaves of the file, the records that were not acknowledged make it whole."""
    directory = tmp_path_factory.mktemp("log")
    path = directory / "0.log"
    records = [record(position, data.draw(st.binary(max_size=30))) for position in range(1, 20)]
    file = LogFile(path)
    file.append(records)
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    file = LogFile(path)
    file.append(records)
    file.close()
    assert path.read_bytes() == whole
    assert [line.position for line in lines(directory, 0, since=10)] == list(range(11, 20))
    shutil.rmtree(directory)
