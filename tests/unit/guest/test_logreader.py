"""Reading kept logs by the block: whatever was written, rotated and cut meanwhile, each record comes once."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.logfile import LogFile
from kubelet_bridge.guest.logreader import LogReader
from kubelet_bridge.model import logrecord

RECORD = st.tuples(st.binary(max_size=40), st.booleans(), st.booleans(), st.integers(1, 30))
"""Data, whether it is a piece of a line, whether it is stderr, time."""

BATCHES = st.lists(st.lists(RECORD, min_size=1, max_size=6), max_size=12)


def record(
    position: int, data: bytes = b"data", *, partial: bool = False, stderr: bool = False, time: int = 1
) -> pb.LogRecord:
    stream = pb.LOG_STREAM_STDERR if stderr else pb.LOG_STREAM_STDOUT
    return pb.LogRecord(container="app", position=position, time=time, data=data, partial=partial, stream=stream)


def numbered(batches: list[list[tuple[bytes, bool, bool, int]]]) -> list[list[pb.LogRecord]]:
    position, found = 0, list[list[pb.LogRecord]]()
    for batch in batches:
        found.append([])
        for data, partial, stderr, time in batch:
            position += 1
            found[-1].append(record(position, data, partial=partial, stderr=stderr, time=time))
    return found


def rest(reader: LogReader) -> list[int]:
    """The positions of what is to be read now."""
    found = list[int]()
    while block := reader.read():
        assert block.endswith(b"\n")
        found += [logrecord.position(line) for line in block[:-1].split(b"\n")]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "app"


@settings(deadline=None)
@given(batches=BATCHES, segment=st.integers(30, 300), block=st.integers(90, 400), reads=st.lists(st.booleans()))
def test_what_is_followed_comes_once_through_any_rotation(
    batches: list[list[tuple[bytes, bool, bool, int]]], segment: int, block: int, reads: list[bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("log") / "app"
    file, reader, found = LogFile(folder / "0.log", segment_bytes=segment), LogReader(folder, 0, block=block), []
    wanted = numbered(batches)
    for number, batch in enumerate(wanted):
        file.append(batch)
        if number < len(reads) and reads[number]:
            found += rest(reader)
    found += rest(reader)
    assert found == [one.position for batch in wanted for one in batch]
    assert rest(reader) == []
    file.close()
    reader.close()
    shutil.rmtree(folder.parent)


@settings(deadline=None)
@given(batches=BATCHES, segment=st.integers(30, 300), block=st.integers(90, 400), count=st.integers(0, 40),
       follow=st.booleans())  # fmt: skip
def test_the_tail_is_the_last_records(
    batches: list[list[tuple[bytes, bool, bool, int]]], segment: int, block: int, count: int, follow: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("log") / "app"
    file, reader = LogFile(folder / "0.log", segment_bytes=segment), LogReader(folder, 0, block=block)
    wanted = numbered(batches)
    for batch in wanted:
        file.append(batch)
    last = sum(map(len, wanted))
    reader.tail(count, follow=follow)
    file.append([record(last + 1)])
    every = list(range(1, last + 1))
    assert rest(reader) == every[max(0, last - count) :] + ([last + 1] if follow else [])
    file.close()
    reader.close()
    shutil.rmtree(folder.parent)


@settings(deadline=None)
@given(batches=BATCHES, segment=st.integers(30, 300), since=st.integers(0, 31))
def test_files_are_passed_over_only_if_nothing_in_them_is_recent(
    batches: list[list[tuple[bytes, bool, bool, int]]], segment: int, since: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("log") / "app"
    file, reader = LogFile(folder / "0.log", segment_bytes=segment), LogReader(folder, 0, since=since)
    wanted = numbered(batches)
    for batch in wanted:
        file.append(batch)
    found = rest(reader)
    assert found == sorted(set(found))
    assert {one.position for batch in wanted for one in batch if one.time >= since} <= set(found)
    file.close()
    reader.close()
    shutil.rmtree(folder.parent)


def test_old_files_are_not_read(folder: Path) -> None:
    file = LogFile(folder / "0.log", segment_bytes=50)
    for position in range(1, 41):
        file.append([record(position, time=position)])
    reader = LogReader(folder, 0, since=39)
    found = rest(reader)
    assert found[-1] == 40
    assert len(found) < 10
    file.close()
    reader.close()


def test_it_ends_at_what_was_there_however_much_is_written(folder: Path) -> None:
    file, reader = LogFile(folder / "0.log"), LogReader(folder, 0)
    file.append([record(1), record(2)])
    reader.stop_at_the_end()
    file.append([record(3)])
    assert rest(reader) == [1, 2]
    file.close()
    reader.close()


def test_half_a_line_is_waited_for_and_a_torn_one_replaced(folder: Path) -> None:
    file, reader = LogFile(folder / "0.log"), LogReader(folder, 0)
    file.append([record(1)])
    with (folder / "0.log").open("ab") as torn:
        torn.write(b"2 0 1 oF dat")
    assert rest(reader) == [1]
    file.close()
    file = LogFile(folder / "0.log")
    file.append([record(2, b"whole")])
    assert rest(reader) == [2]
    file.close()
    reader.close()


@pytest.mark.parametrize("junk", [b"\0" * 300_000, b"\0\njunk\n\n"])
def test_what_a_crash_left_is_no_record(folder: Path, junk: bytes) -> None:
    file, reader = LogFile(folder / "0.log"), LogReader(folder, 0)
    file.append([record(1)])
    file.close()
    with (folder / "0.log").open("ab") as torn:
        torn.write(junk)
    assert rest(reader) == [1]
    file = LogFile(folder / "0.log")
    file.append([record(2)])
    assert rest(reader) == [2]
    file.close()
    reader.close()


def test_a_file_that_is_cut_back_and_written_again_gives_nothing_twice(folder: Path) -> None:
    file, reader = LogFile(folder / "0.log"), LogReader(folder, 0)
    file.append([record(1)])
    size = file.size
    file.append([record(2), record(3)])
    assert rest(reader) == [1, 2, 3]
    file.close()
    with (folder / "0.log").open("r+b") as cut:
        cut.truncate(size)
    assert rest(reader) == []
    file = LogFile(folder / "0.log")
    file.append([record(2), record(3), record(4)])
    assert rest(reader) == [4]
    file.close()
    reader.close()


def test_a_log_that_is_not_there_yet_and_one_that_is_gone(folder: Path) -> None:
    reader = LogReader(folder, 0)
    assert rest(reader) == []
    file = LogFile(folder / "0.log")
    file.append([record(1)])
    assert rest(reader) == [1]
    file.append([record(2)])
    (folder / "0.log").unlink()
    assert rest(reader) == [2]
    assert rest(reader) == []
    file.close()
    reader.close()
    assert reader.read() == b""
