import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.streaming.window import MAX_WINDOW, Window, WindowExceeded


@given(st.integers(0, MAX_WINDOW), st.lists(st.tuples(st.booleans(), st.integers(0, 2 * MAX_WINDOW)), max_size=50))
def test_it_carries_exactly_what_was_granted(size: int, moves: list[tuple[bool, int]]) -> None:
    window = Window(size)
    granted, spent = size, 0
    for grant, amount in moves:
        try:
            if grant:
                window.grant(amount)
                granted += amount
            else:
                window.spend(amount)
                spent += amount
        except WindowExceeded:
            assert amount > (MAX_WINDOW - window.left if grant else window.left)
        assert window.left == granted - spent
        assert 0 <= window.left <= MAX_WINDOW


def test_impossible_windows() -> None:
    with pytest.raises(WindowExceeded):
        Window(MAX_WINDOW + 1)
    with pytest.raises(WindowExceeded):
        Window(1).grant(-1)
