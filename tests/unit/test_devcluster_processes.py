"""Processes of a cluster: found again, never mistaken, ended with what they started; and the directory's lock."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.devcluster import processes
from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.devcluster.lock import exclusive
from kubelet_bridge.errors import Terminal


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    one = Layout(tmp_path / "cluster")
    one.make()
    yield one
    for process in processes.belonging_to(one):
        processes.stop(process, grace=0)


def _start(layout: Layout, *argv: str) -> processes.Process:
    return processes.start(layout, "one", list(argv), {})


def test_a_started_process_is_found_again_and_stopped(layout: Layout) -> None:
    started = _start(layout, "sleep", "600")
    assert processes.recorded(layout, "one") == started
    processes.stop(started, grace=5)
    assert not started.alive
    assert processes.recorded(layout, "one") is None


def test_one_that_ignores_sigterm_is_killed(layout: Layout) -> None:
    started = _start(layout, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done")
    while "ready" not in layout.log("one").read_text():
        assert started.alive
    processes.stop(started, grace=0.1)
    assert not started.alive


def test_a_later_process_of_the_same_pid_is_left_alone(layout: Layout) -> None:
    started = _start(layout, "sleep", "600")
    earlier = msgspec.structs.replace(started, started=started.started - 1)
    processes.stop(earlier, grace=0)
    assert not earlier.alive
    assert started.alive


def test_what_a_process_starts_belongs_to_the_cluster(layout: Layout) -> None:
    started = _start(layout, "sh", "-c", "setsid sleep 600 & echo ready; wait")
    while "ready" not in layout.log("one").read_text() or len(processes.belonging_to(layout)) < 2:
        assert started.alive
    (child,) = (process for process in processes.belonging_to(layout) if process.pid != started.pid)
    assert started.pid in processes.ancestors(child.pid)
    assert os.getpid() not in processes.ancestors(started.pid)


def test_the_last_words_of_one_that_fails(layout: Layout) -> None:
    with contextlib.suppress(Terminal):  # when the shell was quick to find out
        while _start(layout, "/no-such-program").alive:
            pass
    assert "no-such-program" in processes.last_words(layout, "one")


def test_one_at_a_time(layout: Layout) -> None:
    fresh = Layout(layout.directory.with_name("fresh"))
    with exclusive(fresh), pytest.raises(Terminal, match="is at work"), exclusive(fresh):
        pass


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(Terminal, match="holds no development cluster"), exclusive(Layout(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
