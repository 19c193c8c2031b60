"""Fail points: off by default, and each action when ordered."""

import subprocess
import sys
from pathlib import Path

import pytest

from kubelet_bridge.aio import failpoints
from kubelet_bridge.aio.failpoints import Action, FailPoint, FailPointError, Order

ROOT = Path(__file__).parents[3]


def test_off_unless_ordered() -> None:
    point = failpoints.declare("test.off")
    point.hit()
    failpoints.hit("test.off")
    assert failpoints.declare("test.off") is point
    assert "test.off" in failpoints.names()
    assert failpoints.undeclared() == []


def test_orders_are_read() -> None:
    assert failpoints.parse("a, b:3=error,c=delay:0.5,d:2,") == {
        "a": Order(Action.KILL), "b": Order(Action.ERROR, 3), "c": Order(Action.DELAY, seconds=0.5),
        "d": Order(Action.KILL, 2),
    }  # fmt: skip
    assert failpoints.parse("") == {}


@pytest.mark.parametrize("text", ["a=explode", "a:x", "a=delay:soon"])
def test_orders_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="want name"):
        failpoints.parse(text)


def test_an_error_comes_at_the_hit_asked_for_only() -> None:
    point = FailPoint("disk", Order(Action.ERROR, 2))
    point.hit()
    with pytest.raises(FailPointError, match="disk"):
        point.hit()
    point.hit()


def test_without_a_count_each_hit_counts() -> None:
    point = FailPoint("disk", Order(Action.ERROR))
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            point.hit()


def test_a_delay_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    FailPoint("slow", Order(Action.DELAY, seconds=0.25)).hit()
    assert slept == [0.25]


def test_a_kill_leaves_no_time_for_anything() -> None:
    program = (
        "from kubelet_bridge.aio import failpoints\n"
        "print(failpoints.undeclared(), flush=True)\n"
        "try: failpoints.hit('test.kill'); failpoints.hit('test.kill')\n"
        "finally: print('cleaned up', flush=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env={failpoints.VARIABLE: "test.kill:2", "PYTHONPATH": str(ROOT)},
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == -9
    assert ended.stdout == b"['test.kill']\n"
