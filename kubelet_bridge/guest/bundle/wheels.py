"""The wheels the agent carries: pinned by hash, fetched by pip once, kept in the cache."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kubelet_bridge.errors import Terminal

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def wheels(cache: Path) -> list[Path]:
    """All of them, checked; fetched into ``cache`` when they are not there.

    Raises:
        Terminal: pip cannot fetch them; the message ends with what it said.
    """
    pinned = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", REQUIREMENTS.read_text()))
    directory = cache / f"agent-wheels-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    if _hashes(directory) != pinned:
        _fetch(directory)
    if _hashes(directory) != pinned:
        raise Terminal(f"{directory} does not hold what {REQUIREMENTS.name} pins")
    return sorted(directory.glob("*.whl"))


def _hashes(directory: Path) -> set[str]:
    return {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in directory.glob("*.whl")}


def _fetch(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".wheels-") as staged:
        argv = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--require-hashes", "--only-binary", ":all:", "--platform", "any", "--implementation", "py",
            "--abi", "none", "--python-version", "3.8", "--dest", staged, "--requirement", str(REQUIREMENTS),
        ]  # fmt: skip
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, "PIP_NO_INPUT": "1"}
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise Terminal(f"the agent's libraries cannot be fetched by pip: {said}")
        for wheel in Path(staged).glob("*.whl"):
            shutil.move(wheel, directory / wheel.name)
