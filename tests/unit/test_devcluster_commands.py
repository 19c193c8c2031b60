"""`kubelet-bridge dev` where there is no cluster: one line, the right exit code, no traceback."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from kubelet_bridge.cli import main


@pytest.mark.parametrize("command", ["status", "env"])
def test_no_cluster(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["dev", command, "--directory", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no development cluster in ")
    assert result.output.count("\n") == 1


def test_down_without_a_cluster(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["dev", "down", "--directory", str(tmp_path / "none")]).exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kubernetes-version", "1.30.0"], "Kubernetes 1.30.0 is too old"),
        (["--kubernetes-version", "new"], "give all three numbers"),
    ],
)
def test_an_impossible_version(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["dev", "up", "--directory", str(tmp_path / "none"), *arguments])
    assert result.exit_code == 1
    assert said in result.output


def test_programs_given_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELET_BRIDGE_BIN_DIR", str(tmp_path))
    (tmp_path / "etcd").touch(mode=0o755)
    result = CliRunner().invoke(main, ["dev", "binaries"])
    assert result.exit_code == 1
    assert "lacks kubectl, kube-apiserver, " in result.output


def test_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KUBELET_BRIDGE_BIN_DIR", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KUBELET_BRIDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    result = CliRunner().invoke(main, ["dev", "binaries"])
    assert result.exit_code == 1
    assert "install Go 1." in result.output
