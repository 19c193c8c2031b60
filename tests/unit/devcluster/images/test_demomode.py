from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.devcluster import demo, demomode
from kubelet_bridge.devcluster.demomode import Machine, obstacle
from kubelet_bridge.devcluster.devhost.process import launch
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.progress import Progress

ABLE = Machine(root=True, has_apt=True, lacking=("mmdebstrap",), memory=8 << 30, disk=20 << 30)


def test_a_debian_with_room_has_real_guests() -> None:
    assert not obstacle(ABLE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"root": False}, "root"),
        ({"has_apt": False}, "mmdebstrap"),
        ({"memory": 3 << 30}, "3.0 GiB of memory"),
        ({"disk": 1 << 30}, "1.0 GiB of disk"),
    ],
)
def test_what_is_in_the_way_is_named(change: dict[str, object], why: str) -> None:
    assert why in obstacle(msgspec.structs.replace(ABLE, **change))


def test_without_apt_what_is_installed_suffices() -> None:
    assert not obstacle(msgspec.structs.replace(ABLE, has_apt=False, lacking=()))


@pytest.mark.parametrize(("refused", "mode"), [("", HostMode.PROCESS), ("not permitted", HostMode.NONE)])
def test_without_real_guests_the_next_best_is_taken_and_said(
    refused: str, mode: HostMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demomode, "look", lambda _: msgspec.structs.replace(ABLE, root=False))
    monkeypatch.setattr(launch, "refusal", lambda: refused)
    assert demomode.choose(tmp_path, Progress()) is mode
    said = capsys.readouterr().err
    assert "only root can build their images" in said
    assert f"mode {mode}" in said
    assert refused in said


def test_a_manifest_for_the_mode_is_preferred(tmp_path: Path) -> None:
    for name in ("web.yaml", "web.process.yaml", "job.yaml"):
        (tmp_path / name).touch()
    assert demo.suited(tmp_path / "web.yaml", HostMode.PROCESS).name == "web.process.yaml"
    assert demo.suited(tmp_path / "web.yaml", HostMode.QEMU).name == "web.yaml"
    assert demo.suited(tmp_path / "job.yaml", HostMode.PROCESS).name == "job.yaml"
