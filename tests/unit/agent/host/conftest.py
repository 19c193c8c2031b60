import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import Run
from kubelet_bridge.agent.host.driver import HostDriver
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Guest:
    """A host driver in a directory of its own; what it started is gone at the end."""

    def __init__(self, place: Path) -> None:
        self.paths = Paths(place / "agent.json", place / "state", place / "run")
        self.paths.make()
        self.root = place / "root"
        (self.root / "etc").mkdir(parents=True)
        self.driver = self.another()
        self.manifest = pb.PodManifest(pod_name="web", pod_namespace="default", pod_uid="u1", hostname="web", boot="b1")

    def another(self) -> HostDriver:
        return HostDriver(self.paths, root=self.root, systemd=False)

    async def start(self, *command: str, attempt: int = 0, **fields: object) -> Run:
        container = pb.Container(name="main", command=command, **fields)  # type: ignore[arg-type]
        del self.manifest.containers[:]
        self.manifest.containers.append(container)
        await self.driver.prepare(self.manifest)
        return await self.driver.start(self.manifest, container, attempt, "")

    async def end(self) -> None:
        for run in await self.driver.runs():
            if run.exit is None:
                await self.driver.stop(run, "SIGKILL", 0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that any user may enter; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def place(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.fixture
async def guest(place: Guest) -> AsyncIterator[Guest]:
    yield place
    await place.end()


def processes_with(word: str) -> list[int]:
    """Those with this word in their command line."""
    found = []
    for pid in [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]:
        try:
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
