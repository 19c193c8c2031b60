"""The real cloud-init, where the machine has it (Debian's package): what it makes of our documents."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

PROGRAM = shutil.which("cloud-init")
_SYSTEM_PYTHON = "/usr/bin/python3"  # cloud-init is the system's, not this environment's

needed = pytest.mark.skipif(PROGRAM is None, reason="cloud-init is not installed (apt-get install cloud-init)")


class Merged(msgspec.Struct):
    """The cloud-config that results, and each part's content type with its file name."""

    config: dict[str, Any]
    parts: list[tuple[str, str]]


def merge(user_data: bytes, directory: Path) -> Merged:
    """Have it take a user-data document apart and merge what is in it."""
    script = Path(__file__).with_name("consume.py")
    argv = [_SYSTEM_PYTHON, str(script), str(directory)]
    done = subprocess.run(argv, input=user_data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Merged)


def schema_complaints(cloud_config: bytes, directory: Path) -> str:
    """What it finds wrong with a cloud-config; empty when nothing is."""
    file = directory / "cloud-config"
    file.write_bytes(cloud_config)
    argv = [str(PROGRAM), "schema", "--config-file", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def render_network(network_data: bytes, renderer: str, distribution: str, directory: Path) -> dict[str, str]:
    """The files that ``renderer`` writes for a network configuration, by path."""
    source, target = directory / "network-config", directory / "rendered"
    source.write_bytes(network_data)
    argv = [str(PROGRAM), "devel", "net-convert", "-p", str(source), "-k", "yaml", "-d", str(target)]
    done = subprocess.run([*argv, "-D", distribution, "-O", renderer], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = (file for file in target.rglob("*") if file.is_file())
    return {str(file.relative_to(target)): file.read_text() for file in files}
