"""File systems that are checked before they are mounted, on files."""

import subprocess
from pathlib import Path

import pytest

from kubelet_bridge.agent.volumes import checking
from kubelet_bridge.agent.volumes.blank import DiskError

SIZE = 16 * 1024 * 1024


@pytest.fixture
def device(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    with made.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(made)], check=True)
    return made


def state(device: Path) -> str:
    lines = subprocess.run(["dumpe2fs", "-h", str(device)], capture_output=True, text=True, check=True).stdout
    return next(line.split(":")[1].strip() for line in lines.splitlines() if line.startswith("Filesystem state"))


def test_errors_that_can_be_mended_are(device: Path) -> None:
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", str(device)], capture_output=True, check=True)
    assert "errors" in state(device)
    checking.check(str(device))
    assert state(device) == "clean"


def test_what_cannot_be_mended_without_asking_is_not_mounted(device: Path) -> None:
    for request in ("clri <2>", "ssv state 2"):
        subprocess.run(["debugfs", "-w", "-R", request, str(device)], capture_output=True, check=True)
    with pytest.raises(DiskError, match="could not correct"):
        checking.check(str(device))


def test_what_no_fsck_knows_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * SIZE)
    checking.check(str(image))
    monkeypatch.setenv("PATH", str(tmp_path))
    checking.check(str(image))
