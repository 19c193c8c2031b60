"""Commands built from a patched copy of their main package."""

from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.devcluster import gopatch
from kubelet_bridge.devcluster.gopatch import Patch
from kubelet_bridge.devcluster.programs import GO_MODULES, PROGRAMS
from kubelet_bridge.errors import Terminal


def _upstream(directory: Path) -> Path:
    package = directory / "upstream"
    package.mkdir()
    (package / "main.go").write_text('const port = "8443"\n')
    (package / "main_test.go").write_text("package main")
    return package


def _workspace(directory: Path, patch: Patch) -> Path:
    (directory / gopatch.PATCHES).write_bytes(msgspec.json.encode({"program": [patch]}))
    return directory


def test_a_copy_with_what_was_asked_for_changed(tmp_path: Path) -> None:
    patch = Patch("main.go", 'const port = "8443"', 'var port = flag.String("port", "8443", "")')
    workspace = _workspace(tmp_path, patch)
    upstream = _upstream(tmp_path)
    gopatch.lay(upstream, workspace, "program")
    assert {path.name for path in (workspace / "program").iterdir()} == {"main.go"}
    assert (workspace / "program" / "main.go").read_text() == patch.new + "\n"
    assert (upstream / "main.go").read_text() == patch.old + "\n"


@pytest.mark.parametrize(
    "patch", [Patch("main.go", "8080", "x"), Patch("main.go", '"', "x"), Patch("other.go", "const", "var")]
)
def test_a_patch_that_does_not_fit_fails_the_build(tmp_path: Path, patch: Patch) -> None:
    workspace = _workspace(tmp_path, patch)
    with pytest.raises(Terminal, match="not once"):
        gopatch.lay(_upstream(tmp_path), workspace, "program")


def test_every_patched_program_has_its_patches() -> None:
    for program in PROGRAMS:
        if program.upstream:
            patches = msgspec.json.decode((GO_MODULES / program.module / gopatch.PATCHES).read_bytes())
            assert patches[program.name], program.name
            assert program.package == f"./{program.name}"
