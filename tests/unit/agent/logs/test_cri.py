from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.logs import cri
from kubelet_bridge.agent.v1 import agent_pb2 as pb


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b"2016-10-06T00:17:09.669794202Z", 1475713029_669794202),
        (b"2016-10-06T00:17:09Z", 1475713029_000000000),
        (b"2016-10-06T02:17:09.5+02:00", 1475713029_500000000),
        (b"2016-10-05T18:47:09.000000001-05:30", 1475713029_000000001),
    ],
)
def test_times(stamp: bytes, expected: int) -> None:
    assert cri.nanoseconds(stamp) == expected


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_time_that_isoformat_writes(moment: datetime) -> None:
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    assert cri.nanoseconds(moment.isoformat(timespec="microseconds").encode()) == micros * 1000


@given(st.binary(max_size=40))
def test_what_is_no_time_is_an_error_and_nothing_worse(stamp: bytes) -> None:
    try:
        cri.nanoseconds(stamp)
    except ValueError:
        pass


def test_lines() -> None:
    line = cri.parse(b"2016-10-06T00:17:09.669794202Z stderr P one two ")
    assert line == cri.Line(1475713029_669794202, pb.LOG_STREAM_STDERR, True, b"one two ")
    assert cri.parse(b"2016-10-06T00:17:09Z stdout F ").data == b""
    assert cri.parse(b"2016-10-06T00:17:09Z stdout F").data == b""


def test_what_is_not_in_the_format_keeps_the_time_and_stream_of_the_line_before() -> None:
    last = cri.parse(b"2016-10-06T00:17:09Z stderr F x")
    assert cri.parse(b"\x00\x00garbage", last) == last._replace(data=b"\x00\x00garbage")
    assert cri.parse(b"no time stdout F x").time == 0


@given(st.binary(max_size=5 * cri.PIECE).filter(lambda data: b"\n" not in data), st.booleans())
def test_pieces_make_up_the_line(data: bytes, partial: bool) -> None:
    line = cri.Line(1, pb.LOG_STREAM_STDOUT, partial, data)
    pieces = cri.pieces(line)
    assert b"".join(piece.data for piece in pieces) == data
    assert all(len(piece.data) <= cri.PIECE for piece in pieces)
    assert [piece.partial for piece in pieces] == [True] * (len(pieces) - 1) + [partial]
    raw = b"2016-10-06T00:17:09Z stdout " + (b"P " if partial else b"F ") + data
    assert cri.records_in(raw) == len(pieces)
