"""The query of /containerLogs: what a kubelet takes, and what it answers to the rest."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.logs.options import LogOptions, Stream, parse, rfc3339
from kubelet_bridge.kubelet_api.logs.refused import LogsRefused

MOMENT = 1_475_755_180_669_794_202  # 2016-10-06T11:59:40.669794202Z


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, LogOptions()),
        (
            {"follow": "true", "previous": "1", "timestamps": ""},
            LogOptions(follow=True, previous=True, timestamps=True),
        ),
        ({"follow": "FALSE", "previous": "0", "timestamps": "false"}, LogOptions()),
        ({"follow": "no"}, LogOptions(follow=True)),
        ({"tailLines": "0"}, LogOptions(tail_lines=0)),
        ({"tailLines": "+7"}, LogOptions(tail_lines=7)),
        ({"tail": "3"}, LogOptions(tail_lines=3)),
        ({"tail": "all", "tailLines": "3"}, LogOptions()),
        ({"tail": "", "tailLines": "3"}, LogOptions(tail_lines=3)),
        ({"sinceSeconds": "1", "limitBytes": "1"}, LogOptions(since_seconds=1, limit_bytes=1)),
        ({"sinceTime": "2016-10-06T11:59:40.669794202Z"}, LogOptions(since_time=MOMENT)),
        ({"sinceTime": "2016-10-06T13:59:40.669794202+02:00"}, LogOptions(since_time=MOMENT)),
        ({"sinceTime": "2016-10-06T11:59:40Z"}, LogOptions(since_time=MOMENT // 10**9 * 10**9)),
        ({"sinceTime": "null"}, LogOptions(since_time=0)),
        ({"stream": "Stderr"}, LogOptions(stream=Stream.STDERR)),
        ({"stream": "All", "tailLines": "1"}, LogOptions(tail_lines=1)),
        ({"container": "other", "pretty": "true"}, LogOptions()),
    ],
)
def test_what_is_taken(query: dict[str, str], wanted: LogOptions) -> None:
    assert parse(query) == wanted


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "x"}, {"tailLines": ""}, {"tailLines": "1.0"}, {"tailLines": "1_0"}, {"tailLines": " 1"},
        {"tailLines": "9223372036854775808"}, {"tailLines": "٣"}, {"tail": "some"}, {"sinceSeconds": "1s"},
        {"limitBytes": "1Ki"}, {"sinceTime": "yesterday"}, {"sinceTime": "2016-10-06 11:59:40Z"},
        {"sinceTime": "2016-10-06T11:59:40"}, {"sinceTime": "2016-13-06T11:59:40Z"},
    ],
)  # fmt: skip
def test_what_cannot_be_read(query: dict[str, str]) -> None:
    with pytest.raises(LogsRefused, match="Unable to decode query") as refused:
        parse(query)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "-1"}, {"sinceSeconds": "0"}, {"sinceSeconds": "-5"}, {"limitBytes": "0"}, {"limitBytes": "-1"},
        {"sinceSeconds": "1", "sinceTime": "2016-10-06T11:59:40Z"}, {"sinceSeconds": "1", "sinceTime": ""},
        {"stream": "stdout"}, {"stream": ""}, {"stream": "Stdout", "tailLines": "1"},
    ],
)  # fmt: skip
def test_what_cannot_be(query: dict[str, str]) -> None:
    with pytest.raises(LogsRefused, match="Invalid request") as refused:
        parse(query)
    assert refused.value.status == 422


def test_since_is_a_moment() -> None:
    assert parse({"sinceSeconds": "2"}).since(MOMENT) == MOMENT - 2 * 10**9
    assert parse({"sinceSeconds": "9223372036854775807"}).since(MOMENT) == 0
    assert parse({"sinceTime": rfc3339(5)}).since(MOMENT) == 5
    assert parse({"sinceTime": "1871-10-06T11:59:40Z"}).since(MOMENT) == 0
    assert parse({}).since(MOMENT) == 0


@pytest.mark.parametrize(
    ("asked", "passed_on"),
    [
        ("9999-12-31T23:59:59.5-23:59", "9999-12-31T23:59:59.999999999Z"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00.000000000Z"),
        ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250000000Z"),
    ],
)
def test_a_moment_at_the_ends_of_the_calendar_is_passed_on(asked: str, passed_on: str) -> None:
    assert parse({"sinceTime": asked}).query() == {"sinceTime": passed_on}


@given(
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    tail=st.none() | st.integers(0, 2**63 - 1),
    since=st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)),  # noqa: DTZ001 - hypothesis wants it so
    limit=st.none() | st.integers(1, 2**63 - 1),
)
def test_what_is_passed_on_says_the_same(
    flags: tuple[bool, bool, bool], tail: int | None, since: datetime | None, limit: int | None
) -> None:
    follow, previous, timestamps = flags
    moment = int(since.replace(tzinfo=UTC).timestamp()) * 10**9 + 7 if since is not None else None
    options = LogOptions(
        follow=follow, previous=previous, timestamps=timestamps, tail_lines=tail, since_time=moment, limit_bytes=limit
    )
    assert parse(options.query()) == options
