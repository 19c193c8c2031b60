"""What a client gets of a log: the same whatever the blocks, and what a plain model of the kubelet's would print."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.logfile import encode
from kubelet_bridge.kubelet_api.logs.formatting import LogFormatter
from kubelet_bridge.kubelet_api.logs.options import LogOptions, Stream

START = 1_475_755_180_669_794_202
DATA = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b" ")) | st.just(b"7 0 9 oF look alike")
RECORDS = st.lists(st.tuples(DATA, st.booleans(), st.booleans(), st.integers(0, 3 * 10**9)), max_size=20)
"""Data, whether it is a piece of a line, whether it is stderr, nanoseconds after ``START``."""

Records = list[tuple[bytes, bool, bool, int]]


def lines(records: Records) -> list[bytes]:
    return [
        encode(pb.LogRecord(
            position=number, time=START + time, data=data, partial=partial,
            stream=pb.LOG_STREAM_STDERR if stderr else pb.LOG_STREAM_STDOUT,
        ))
        for number, (data, partial, stderr, time) in enumerate(records, 1)
    ]  # fmt: skip


def model(records: Records, options: LogOptions, since: int) -> bytes:
    """``logWriter.write`` of cri-client, line for line."""
    out, new_line = b"", True
    for data, partial, stderr, after in records:
        message = data if partial else data + b"\n"
        time = START + after
        wanted = options.stream is Stream.ALL or stderr == (options.stream is Stream.STDERR)
        if time >= since and wanted:
            if options.timestamps and new_line:
                moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=time // 10**9)
                out += f"{moment:%Y-%m-%dT%H:%M:%S}.{time % 10**9:09}Z ".encode()
            out += message
        new_line = message.endswith(b"\n") or not message
    return out if options.limit_bytes is None else out[: options.limit_bytes]


@given(
    records=RECORDS, cuts=st.sets(st.integers(0, 20)), timestamps=st.booleans(), stream=st.sampled_from(Stream),
    limit=st.none() | st.integers(1, 200), since=st.none() | st.integers(0, 3 * 10**9),
)  # fmt: skip
def test_it_prints_what_a_kubelet_prints(
    records: Records, cuts: set[int], timestamps: bool, stream: Stream, limit: int | None, since: int | None
) -> None:
    options = LogOptions(timestamps=timestamps, stream=stream, limit_bytes=limit)
    begin = START + since if since is not None else 0
    formatter, every, text = LogFormatter(options, since=begin), lines(records), b""
    places = sorted({0, len(every), *(cut for cut in cuts if cut < len(every))})
    for start, end in pairwise(places):
        text += formatter.feed(b"".join(every[start:end]))
    assert text == model(records, options, begin)
    assert formatter.full == (limit is not None and len(text) == limit)


def test_what_is_no_record_is_not_printed() -> None:
    block = b"".join([*lines([(b"one", False, False, 0)]), b"\0\0 junk\n", *lines([(b"two", False, False, 0)])])
    assert LogFormatter(LogOptions()).feed(block) == b"one\ntwo\n"


def test_a_line_that_looks_like_a_record_within_a_piece() -> None:
    block = b"".join(lines([(b"1 0 9 oF x", True, False, 0), (b"end", False, False, 0)]))
    assert LogFormatter(LogOptions()).feed(block) == b"1 0 9 oF xend\n"


def test_times_before_2001_have_all_their_digits() -> None:
    line = encode(pb.LogRecord(position=1, time=7, data=b"x"))
    assert LogFormatter(LogOptions(timestamps=True)).feed(line) == b"1970-01-01T00:00:00.000000007Z x\n"
