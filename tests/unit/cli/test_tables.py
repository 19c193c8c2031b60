"""Sizes, ages and columns for people."""

from datetime import timedelta

import pytest

from kubelet_bridge.cli.tables import age, size, table
from tests.support.intents import NOW


def test_columns_line_up_and_nothing_is_a_dash() -> None:
    assert table(("ID", "NAME"), [("a", "long name"), ("abc", "")]) == "ID    NAME\na     long name\nabc   -"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1Ki"), (1536 * 2**20, "1.5Gi"), (2**60, "1Ei"), (2**75, "32768Ei")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")])
def test_ages(seconds: int, text: str) -> None:
    assert age(NOW, NOW + timedelta(seconds=seconds)) == text
