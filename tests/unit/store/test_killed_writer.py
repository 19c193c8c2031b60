"""A process killed at each fail point of the store: what it was told is on disk is on disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubelet_bridge.aio import failpoints
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.store import rows
from kubelet_bridge.store.opening import FILE_NAME, open_or_replace

ROOT = Path(__file__).parents[3]
SAVERS = 8
POINTS = [name for name in failpoints.names() if name.startswith("store.")]


def run_until_killed(directory: Path, orders: str) -> dict[str, int]:
    """Acknowledged counts by uid."""
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("writer.py")), str(directory), str(SAVERS)],
        env={**os.environ, failpoints.VARIABLE: orders, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, timeout=25, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    pairs = [line.split() for line in ended.stdout.decode().splitlines()]
    return {uid: int(count) for uid, count in pairs}


def found_after(directory: Path) -> dict[str, Intent]:
    opened = open_or_replace(directory / FILE_NAME)
    assert opened.set_aside is None
    found, unreadable = rows.decode_live(opened.connection.execute(rows.LIVE).fetchall())
    opened.connection.close()
    assert unreadable == []
    return found


def test_every_place_where_a_crash_matters_has_a_name() -> None:
    assert POINTS == [
        "store.batch.acknowledged", "store.batch.begin", "store.batch.committed", "store.batch.written",
        "store.migration.after", "store.migration.before", "store.set-aside",
    ]  # fmt: skip


@pytest.mark.parametrize("hits", [1, 2, 7])
@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("store.batch")])
def test_every_acknowledged_commit_survives(tmp_path: Path, point: str, hits: int) -> None:
    acknowledged = run_until_killed(tmp_path, f"{point}:{hits}")
    found = found_after(tmp_path)
    assert found.keys() >= acknowledged.keys()
    for uid, one in found.items():
        assert one.restart_count in (acknowledged.get(uid, -1), acknowledged.get(uid, -1) + 1)
    assert bool(acknowledged) == (hits > 1)


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("store.migration")])
def test_a_migration_is_done_or_not_begun(tmp_path: Path, point: str) -> None:
    assert run_until_killed(tmp_path, point) == {}
    assert found_after(tmp_path) == {}


@pytest.mark.parametrize("hits", [1, 2])
def test_a_damaged_file_is_kept_when_setting_it_aside_is_cut_short(tmp_path: Path, hits: int) -> None:
    parts = {"": b"damaged" * 1000, "-wal": b"this was a log" * 1000}
    for suffix, content in parts.items():
        (tmp_path / f"{FILE_NAME}{suffix}").write_bytes(content)
    assert run_until_killed(tmp_path, f"store.set-aside:{hits}") == {}
    opened = open_or_replace(tmp_path / FILE_NAME)
    assert opened.fresh
    opened.connection.close()
    kept = [file.read_bytes() for file in tmp_path.glob(f"{FILE_NAME}.corrupt-*")]
    assert sorted(kept) == sorted(parts.values())
