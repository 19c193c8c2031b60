"""Kept logs and what a client gets of them: the same text however it was written, split, rotated and read."""

import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.logfile import LogFile
from kubelet_bridge.guest.logreader import LogReader
from kubelet_bridge.kubelet_api.logs.formatting import LogFormatter
from kubelet_bridge.kubelet_api.logs.options import LogOptions
from kubelet_bridge.model import logrecord

PIECES = st.lists(
    st.tuples(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), st.booleans(), st.integers(1, 9)),
    max_size=60,
)
"""Data, whether the line goes on after it, time."""


def records(pieces: list[tuple[bytes, bool, int]]) -> list[pb.LogRecord]:
    return [
        pb.LogRecord(position=number, data=data, partial=partial, time=time)
        for number, (data, partial, time) in enumerate(pieces, 1)
    ]


def model(pieces: list[tuple[bytes, bool, int]], options: LogOptions) -> bytes:
    """The last records first, then those that are recent, then so many bytes."""
    last = pieces if options.tail_lines is None else pieces[max(0, len(pieces) - options.tail_lines) :]
    recent = [data + (b"" if partial else b"\n") for data, partial, time in last if time >= (options.since_time or 0)]
    return b"".join(recent)[: options.limit_bytes]


@given(
    pieces=PIECES, cuts=st.sets(st.integers(0, 60)), segment=st.integers(30, 400), block=st.integers(120, 500),
    tail=st.none() | st.integers(0, 70), since=st.none() | st.integers(0, 10), limit=st.none() | st.integers(1, 400),
)  # fmt: skip
def test_the_text_is_that_of_the_records(
    pieces: list[tuple[bytes, bool, int]], cuts: set[int], segment: int, block: int, tail: int | None,
    since: int | None, limit: int | None, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("log") / "app"
    file, every = LogFile(folder / "0.log", segment_bytes=segment), records(pieces)
    for start, end in pairwise(sorted({0, len(every), *(cut for cut in cuts if cut < len(every))})):
        file.append(every[start:end])
    file.close()
    options = LogOptions(tail_lines=tail, since_time=since, limit_bytes=limit)
    reader, formatter, text = (
        LogReader(folder, 0, since=since or 0, block=block),
        LogFormatter(options, since=since or 0),
        b"",
    )
    if tail is not None:
        reader.tail(tail, follow=False)
    while read := reader.read():
        text += formatter.feed(read)
    reader.close()
    assert text == model(pieces, options)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("tail", [None, 0, 7, 3000])
def test_reading_while_another_writes_and_rotates(tmp_path: Path, tail: int | None) -> None:
    file, last = LogFile(tmp_path / "0.log", segment_bytes=4000), 30_000
    for start in range(1, 2001, 20):
        file.append([pb.LogRecord(position=number, data=b"x" * 20) for number in range(start, start + 20)])

    def write() -> None:
        for start in range(2001, last + 1, 20):
            file.append([pb.LogRecord(position=number, data=b"x" * 20) for number in range(start, start + 20)])

    writer = threading.Thread(target=write)
    writer.start()
    reader, positions = LogReader(tmp_path, 0, block=1000), list[int]()
    if tail is not None:
        reader.tail(tail, follow=True)
    more = True
    while more:
        writing, block = writer.is_alive(), reader.read()
        positions += [logrecord.position(line) for line in block[:-1].split(b"\n") if line]
        more = writing or block != b""
    writer.join()
    reader.close()
    file.close()
    first = positions[0] if positions else last + 1
    assert positions == list(range(first, last + 1))
    assert first == 1 if tail is None else first > 2000 - tail
