"""Counters made of counters that begin anew."""

from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.translate.counters import Counter, Since


def test_growth_is_counted() -> None:
    counter = Counter.at(10)
    assert counter.take(15, Since.BEFORE) == 15


def test_a_counter_that_began_at_zero_counts_whole() -> None:
    counter = Counter.at(10)
    assert counter.take(25, Since.ZERO) == 35


def test_another_counter_counts_from_what_it_shows() -> None:
    counter = Counter.at(10)
    assert counter.take(500, Since.ELSEWHERE) == 10
    assert counter.take(503, Since.BEFORE) == 13


def test_what_was_lost_is_not_counted_twice() -> None:
    counter = Counter.at(10)
    assert counter.take(4, Since.BEFORE) == 10
    assert counter.take(6, Since.BEFORE) == 12


@given(st.lists(st.tuples(st.integers(0, 2**63), st.sampled_from(Since)), max_size=30), st.integers(0, 2**63))
def test_it_never_goes_down(readings: list[tuple[int, Since]], first: int) -> None:
    counter = Counter.at(first)
    before = first
    for reading, since in readings:
        after = counter.take(reading, since)
        assert after >= before
        before = after
