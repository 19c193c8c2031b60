from datetime import UTC, datetime

from kubelet_bridge.node.lease import micro_time


def test_six_digits_even_for_a_whole_second() -> None:
    assert micro_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
