"""File systems that grow with their disks, with programs that write down what they were asked."""

import asyncio
import os
from pathlib import Path

import pytest

from kubelet_bridge.agent import mounting
from kubelet_bridge.agent.mounting import MountPoint
from kubelet_bridge.agent.volumes import growth
from kubelet_bridge.agent.volumes.formatting import FREE


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs, asked = tmp_path / "bin", tmp_path / "asked"
    programs.mkdir()
    for name in ("resize2fs", "xfs_growfs", "btrfs"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{asked}\necho no room >&2\nexit ${{EXIT:-0}}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return asked


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("ext4", "resize2fs /dev/vdb\n"),
        ("xfs", "xfs_growfs {path}\n"),
        ("btrfs", "btrfs filesystem resize max {path}\n"),
        ("vfat", ""),
    ],
)
def test_each_file_system_is_grown_in_its_own_way(tmp_path: Path, asked: Path, kind: str, command: str) -> None:
    before, after = growth.grow(MountPoint("/dev/vdb", str(tmp_path), kind, ["rw"]))
    assert before == after > 0
    assert (asked.read_text() if asked.exists() else "") == command.format(path=tmp_path)


def test_what_cannot_be_grown_says_why(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXIT", "1")
    with pytest.raises(growth.GrowthFailed, match="resize2fs /dev/vdb: no room"):
        growth.grow(MountPoint("/dev/vdb", str(tmp_path), "ext4", ["rw"]))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(growth.GrowthFailed, match="xfs_growfs"):
        growth.grow(MountPoint("/dev/vdb", str(tmp_path), "xfs", ["rw"]))


def test_only_disks_of_volumes_that_may_be_written_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = tmp_path / "volumes"
    points = [
        MountPoint("/dev/vdb", f"{volumes}/data", "ext4", ["rw"]),
        MountPoint("/dev/vdb", f"{volumes}/fixed", "ext4", ["ro", "relatime"]),
        MountPoint("/dev/vdb", f"{volumes}/data/deeper", "ext4", ["rw"]),
        MountPoint("tmpfs", f"{volumes}/memory", "tmpfs", ["rw"]),
        MountPoint("/dev/vda", "/", "ext4", ["rw"]),
    ]
    monkeypatch.setattr(mounting, "mount_points", lambda: {point.path: point for point in points})
    (tmp_path / "block" / "vdb").mkdir(parents=True)
    (tmp_path / "block" / "vdb" / "size").write_text("2048\n")
    assert growth.disks(volumes, tmp_path / "block") == [(points[0], 1024 * 1024)]


async def test_a_disk_is_grown_once_for_each_size_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = MountPoint("/dev/vdb", str(tmp_path / "data"), "ext4", ["rw"])
    sizes = iter([1, 1, 2, 2, 3, 3, 4])
    told: list[tuple[str, str, bool]] = []
    grown: list[int] = []
    over = asyncio.Event()
    size = 0

    def disks(_: Path) -> list[tuple[MountPoint, int]]:
        nonlocal size
        size = next(sizes, 0)
        if not size:
            over.set()
        return [(point, size)] if size else []

    def grow(_: MountPoint) -> tuple[int, int]:
        grown.append(size)
        if size in (1, 4):
            raise growth.GrowthFailed("resize2fs: not found") from FileNotFoundError()
        return (1, 1 + 2 * FREE + (size == 3))

    monkeypatch.setattr(growth, "disks", disks)
    monkeypatch.setattr(growth, "grow", grow)
    monkeypatch.setattr(growth, "LOOK_SECONDS", 0.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(growth.watch(tmp_path, lambda *what: told.append(what)))
        await over.wait()
        task.cancel()
    assert grown == [1, 2, 3, 4]
    assert told == [("data", f"from 1 to {2 * FREE + 2} bytes", False), ("data", "resize2fs: not found", True)]
