from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent import attempt
from kubelet_bridge.agent.attempt import PAUSE_SECONDS, Attempt, Failure
from kubelet_bridge.agent.config import AgentFile


def offer(digest: str) -> AgentFile:
    return AgentFile("2", digest, "https://bridge", 1)


def test_a_digest_is_tried_three_times_with_growing_pauses() -> None:
    now, state = 1000.0, Attempt()
    for trial in range(attempt.TRIALS):
        assert attempt.is_wanted(offer("new"), "own", state, now)
        state = attempt.given_up(state._replace(trying="new", previous="own"), now)
        pause = PAUSE_SECONDS * 2**trial
        assert not attempt.is_wanted(offer("new"), "own", state, now + pause - 1)
        now += pause
    assert not attempt.is_wanted(offer("new"), "own", state, now * 1000)
    assert attempt.is_wanted(offer("newer"), "own", state, now)


def test_a_clock_that_was_set_back_forbids_nothing_for_ever() -> None:
    assert attempt.is_wanted(offer("new"), "own", Attempt(failures=(Failure("new", 1, 1e12),)), 1000.0)


def test_neither_ourselves_nor_from_source() -> None:
    assert not attempt.is_wanted(offer("own"), "own", Attempt(), 0)
    assert not attempt.is_wanted(offer("new"), "", Attempt(), 0)
    assert not attempt.is_wanted(offer(""), "own", Attempt(), 0)


def test_only_the_one_on_probation_is_counted() -> None:
    state = Attempt(trying="new", previous="old", starts=1)
    assert attempt.started(state, "new").starts == 2
    assert attempt.started(state, "old") == Attempt()
    assert attempt.started(Attempt(), "new") == Attempt()


@given(st.integers(0, 10))
def test_three_starts(starts: int) -> None:
    state = Attempt(trying="new", starts=starts)
    assert attempt.is_hopeless(state, "new") is (starts > 3)
    assert not attempt.is_hopeless(state, "old")


def test_round_trip(tmp_path: Path) -> None:
    state = Attempt("new", "old", 2, (Failure("bad", 1, 3.5),))
    attempt.save(tmp_path / "update.json", state)
    assert attempt.load(tmp_path / "update.json") == state


@pytest.mark.parametrize("text", ["", "[]", '{"starts":"x"}', '{"failures":["old form"]}', '{"failures":7}'])
def test_nonsense_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "update.json").write_text(text)
    assert attempt.load(tmp_path / "update.json") == Attempt()
