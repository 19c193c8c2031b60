"""Where a guest's files are, and what lies there before it is switched on."""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.processes import Process

AGENT_HOME = "var/lib/kubelet-bridge/agent"
SEED = "var/lib/cloud/seed/nocloud"
"""A NoCloud seed's place on a disk (cloud-init's documentation), below the guest's root."""


class Places(msgspec.Struct, frozen=True):
    """The directory of one guest.

    Attributes:
        written: what the guest has written: the upper layer of its root.
        console: what its agent and its first process have said.
        record: its first process, for whoever looks for it after a restart of the host.
        outcome: how its last run ended; missing while it runs, and after a death that could say nothing.
    """

    directory: Path

    @property
    def written(self) -> Path:
        """What the guest has written."""
        return self.directory / "written"

    @property
    def console(self) -> Path:
        """What was said on its console."""
        return self.directory / "console"

    @property
    def record(self) -> Path:
        """Its first process."""
        return self.directory / "process.json"

    @property
    def outcome(self) -> Path:
        """How it ended."""
        return self.directory / "outcome"

    def prepare(self, seed: Mapping[str, bytes], agent: Path) -> None:
        """Make the guest's disk: the files of its NoCloud seed, and the agent as an image that comes with it has it."""
        for place in ("work", "root"):
            (self.directory / place).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.written.mkdir(mode=0o755, exist_ok=True)
        directory = self._made(SEED)
        for name, content in seed.items():
            _write(directory / name, content)
        home = self._made(AGENT_HOME)
        content = agent.read_bytes()
        file = home / f"{hashlib.sha256(content).hexdigest()}.pyz"
        _write(file, content)
        current = home / "current.pyz"
        current.unlink(missing_ok=True)
        current.symlink_to(file.name)

    def remember(self, process: Process) -> None:
        """Record the guest's first process."""
        _write(self.record, msgspec.json.encode(process))

    def remembered(self) -> Process | None:
        """The guest's first process, if it still runs."""
        try:
            process = msgspec.json.decode(self.record.read_bytes(), type=Process)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return process if process.alive else None

    def ended_as(self) -> str:
        """What the guest's first process said when it ended; empty when it said nothing."""
        try:
            return self.outcome.read_text().strip()
        except FileNotFoundError:
            return ""

    def remove(self) -> None:
        """Forget the guest's disk; what it said on its console stays."""
        for place in ("written", "work", "root"):
            shutil.rmtree(self.directory / place, ignore_errors=True)

    def _made(self, below: str) -> Path:
        path = self.written / below
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def guest_python() -> str:
    """A Python for the agent: not that of a virtual environment, which is none of a guest's business."""
    return str(Path(sys.executable).resolve())


def _write(path: Path, content: bytes) -> None:
    staged = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    staged.replace(path)
