import pytest

from kubelet_bridge.kubelet_api.configz import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.2, "200ms"), (1, "1s"), (10.0, "10s"), (1.5, "1.5s"), (60, "1m0s"), (90.25, "1m30.25s"),
        (300, "5m0s"), (3600, "1h0m0s"), (4 * 3600, "4h0m0s"), (100 * 3600 + 61.001, "100h1m1.001s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
