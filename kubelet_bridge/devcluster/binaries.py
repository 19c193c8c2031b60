"""Finding each program: in a directory given as it is, ``KUBEBUILDER_ASSETS``, or our cache, where Go builds it."""

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster import gobuild
from kubelet_bridge.devcluster.programs import (
    GO_MODULES,
    HELM,
    OLD_KUBECTL,
    OLDEST_KUBERNETES,
    PROGRAMS,
    Program,
    check_kubernetes_version,
    linker_flags,
    pinned_version,
)
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal
from kubelet_bridge.settings import CACHE_VARIABLE as CACHE_VARIABLE
from kubelet_bridge.settings import cache_root as cache_root

BIN_DIR_VARIABLE = "KUBELET_BRIDGE_BIN_DIR"
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"


class Toolset(msgspec.Struct, frozen=True):
    """Where every program is, and what version they are."""

    kubernetes_version: str
    kubevirt_version: str
    paths: dict[str, Path]


def obtain(kubernetes_version: str | None, progress: Progress) -> Toolset:
    """Every program of the cluster, built when it has to be. Blocks, for many minutes on a new machine.

    Args:
        kubernetes_version: such as ``1.35.4``; None takes the version in ``KUBEBUILDER_ASSETS``, else the pinned one.
        progress: told of every build.

    Raises:
        Terminal: a program cannot be had; the message says what would help.
    """
    asked = check_kubernetes_version(kubernetes_version) if kubernetes_version else None
    if given := os.environ.get(BIN_DIR_VARIABLE):
        return _as_is(Path(given), asked)
    assets = _assets(asked, progress)
    version = asked or (assets.kubernetes_version if assets else pinned_version("kubernetes"))
    found = dict(assets.paths) if assets else {}
    found |= _cached([program for program in PROGRAMS if program.name not in found], version, progress)
    return Toolset(version, pinned_version("kubevirt"), found)


def old_kubectl(progress: Progress) -> Path:
    """A kubectl that speaks SPDY only, built when it has to be. Blocks; raises ``Terminal``."""
    return _cached([OLD_KUBECTL], pinned_version("kubernetes"), progress)[OLD_KUBECTL.name]


def helm(progress: Progress) -> Path:
    """Helm, built when it has to be. Blocks; raises ``Terminal``."""
    return _cached([HELM], pinned_version("kubernetes"), progress)[HELM.name]


def _as_is(directory: Path, asked: str | None) -> Toolset:
    paths = {program.name: directory / program.name for program in PROGRAMS}
    if missing := [name for name, path in paths.items() if not os.access(path, os.X_OK)]:
        raise Terminal(f"{BIN_DIR_VARIABLE}={directory} lacks {', '.join(missing)}")
    version = _version_of(paths["kube-apiserver"])
    if asked not in (None, version):
        raise Terminal(f"{BIN_DIR_VARIABLE}={directory} holds Kubernetes {version}, not {asked}")
    return Toolset(version, pinned_version("kubevirt"), paths)


def _assets(asked: str | None, progress: Progress) -> Toolset | None:
    """What ``KUBEBUILDER_ASSETS`` has, if it is of the version asked for, or of any new enough when none was."""
    directory = os.environ.get(ASSETS_VARIABLE)
    if not directory or not os.access(Path(directory) / "kube-apiserver", os.X_OK):
        return None
    version = _version_of(Path(directory) / "kube-apiserver")
    major, minor, _ = (int(part) for part in version.split("."))
    if asked not in (None, version) or (major, minor) < OLDEST_KUBERNETES:
        progress.say(f"{ASSETS_VARIABLE} holds Kubernetes {version}: not used")
        return None
    paths = {p.name: Path(directory) / p.name for p in PROGRAMS if p.module in ("etcd", "kubernetes")}
    return Toolset(version, "", {name: path for name, path in paths.items() if os.access(path, os.X_OK)})


def _version_of(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"v(\d+\.\d+\.\d+)", said.stdout)
    if found is None:
        raise Terminal(f"{program} --version says {(said.stdout + said.stderr).strip()[:200]!r}")
    return found[1]


def cache_directory(module: str, version: str) -> Path:
    """Named by everything that goes into the build, so that a changed pin never finds an old program."""
    digest = hashlib.sha256(linker_flags(module, version).encode())
    source = GO_MODULES / module
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    return cache_root() / f"{module}-{version}-{digest.hexdigest()[:12]}"


def _cached(programs: list[Program], kubernetes_version: str, progress: Progress) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for module in dict.fromkeys(program.module for program in programs):
        version = kubernetes_version if module == "kubernetes" else pinned_version(module)
        directory = cache_directory(module, version)
        wanted = [program for program in programs if program.module == module]
        if missing := _missing(wanted, directory):
            names = ", ".join(program.name for program in missing)
            progress.say(f"{names} {version}: to be built by Go, once; on a new machine that takes some minutes")
            directory.mkdir(parents=True, exist_ok=True)
            with _locked(directory / ".lock", progress):
                _build(_missing(missing, directory), module, version, directory, progress)
        found |= {program.name: directory / program.name for program in wanted}
    return found


def _missing(programs: list[Program], directory: Path) -> list[Program]:
    """Those that are not there, or are not what the digest beside them says."""
    with ThreadPoolExecutor() as pool:
        verified = pool.map(lambda program: _verified(directory / program.name), programs)
        return [program for program, ok in zip(programs, verified, strict=True) if not ok]


def _verified(path: Path) -> bool:
    try:
        return _digest(path) == path.with_name(f"{path.name}.sha256").read_text().strip()
    except FileNotFoundError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(programs: list[Program], module: str, version: str, directory: Path, progress: Progress) -> None:
    if not programs:
        return
    with gobuild.workspace(module, version) as source:
        for program in programs:
            built = source / f".built-{program.name}"
            gobuild.build(program, version, source, built, progress)
            _keep(built, directory / program.name)


def _keep(built: Path, target: Path) -> None:
    """Into the cache in one step; the digest first, so that a program without one is never trusted."""
    staged = target.with_name(f".{target.name}.new")
    staged.write_bytes(built.read_bytes())
    staged.chmod(0o755)
    target.with_name(f"{target.name}.sha256").write_text(f"{_digest(staged)}\n")
    staged.replace(target)


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step("waiting for another build of the same programs"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
