"""Podman's containers as runs, and their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.agent.podman import cgroups, found

STARTED, FINISHED = "2026-11-21T15:26:14.413951760Z", "2026-11-21T16:26:14.544+01:00"
NOW = 1_800_000_000_000_000_000


def state(**changed: Any) -> dict[str, Any]:
    return {
        "Status": "exited",
        "StartedAt": STARTED,
        "FinishedAt": FINISHED,
        "ExitCode": 3,
        "OOMKilled": False,
        **changed,
    }


def test_times() -> None:
    assert found.nanoseconds(STARTED) == 1795274774413951760
    assert found.nanoseconds(FINISHED) == 1795274774544000000
    assert found.nanoseconds("0001-01-01T00:00:00Z") == 0
    assert found.nanoseconds("soon") == 0


@pytest.mark.parametrize("status", ["running", "paused", "stopping", "stopped"])
def test_what_is_still_there_is_not_over(status: str) -> None:
    assert found.over(state(Status=status), message="", oom_killed=False, now=NOW) is None


def test_end_with_its_code_and_message() -> None:
    over = found.over(state(), message="why", oom_killed=True, now=NOW)
    assert over is not None
    assert (over.exit_code, over.signal, over.oom_killed, over.message) == (3, 0, False, "why")
    assert over.finished_at - over.started_at == 130_048_240


def test_out_of_memory() -> None:
    for told in ({"oom_killed": True}, {"oom_killed": False}):
        inspected = state(ExitCode=137, OOMKilled=not told["oom_killed"])
        over = found.over(inspected, message="", now=NOW, **told)
        assert over is not None
        assert (over.exit_code, over.signal, over.oom_killed) == (137, 9, True)


@pytest.mark.parametrize("changed", [{"FinishedAt": "0001-01-01T00:00:00Z"}, {"ExitCode": -1}])
def test_run_whose_end_nobody_saw(changed: dict[str, Any]) -> None:
    over = found.over(state(**changed), message="", oom_killed=False, now=NOW)
    assert over is not None
    assert (over.exit_code, over.finished_at) == (255, NOW)


def test_cgroup_files(tmp_path: Path) -> None:
    place = tmp_path / "kubelet-bridge" / "a-0"
    place.mkdir(parents=True)
    files = {
        "memory.events": "low 0\noom 1\noom_kill 2\n",
        "memory.stat": "anon 100\ninactive_file 30\n",
        "memory.current": "150\n",
        "cpu.stat": "usage_usec 7\n",
        "pids.current": "4\n",
    }
    for name, text in files.items():
        (place / name).write_text(text)
    assert cgroups.oom_killed("a-0", tmp_path)
    usage = cgroups.usage("a-0", tmp_path)
    assert (usage.cpu_nanoseconds, usage.memory_usage_bytes, usage.memory_working_set_bytes) == (7000, 150, 120)
    assert (usage.memory_rss_bytes, usage.processes) == (100, 4)
    assert not cgroups.oom_killed("b-0", tmp_path)
    assert cgroups.usage("b-0", tmp_path).memory_usage_bytes == 0
