"""How a shim is brought to life so that it outlives the agent: by systemd as a unit, else in a session of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipimport
from pathlib import Path
from typing import Sequence

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host.cgroups import MAX_PROCESSES, weight
from kubelet_bridge.agent.host.shim.main import DETACH
from kubelet_bridge.agent.v1 import agent_pb2 as pb

REASON = "RunContainerError"
SYSTEMD_RUNS = Path("/run/systemd/system")
# It stops what runs in order when the machine goes down, so units made here must still be there then (install/).
WORKLOAD_SERVICE = "kubelet-bridge-workload.service"
LAUNCH_SECONDS = 60
# The first systemd that knows OOMPolicy=.
_OOM_POLICY_SINCE = 243


def shim_command() -> list[str]:
    """How this very agent is run as a shim: the same interpreter, the same file."""
    archive = _archive()
    if archive:
        return [sys.executable, "-I", "-S", archive, "shim"]
    return [sys.executable, "-m", "kubelet_bridge.agent.host.shim.main"]


def _archive() -> str:
    """The zip file we are in; empty where we are files of a source tree."""
    loader = globals().get("__loader__")
    return loader.archive if isinstance(loader, zipimport.zipimporter) else ""


def has_systemd() -> bool:
    """Whether systemd manages this system and its tool is here."""
    return SYSTEMD_RUNS.is_dir() and shutil.which("systemd-run") is not None


def systemd_version() -> int:
    """Its number; 0 when it does not say."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    words = done.stdout.decode(errors="replace").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def unit_name(run: str) -> str:
    """The unit of a run."""
    return f"kubelet-bridge-{run}.service"


def systemd_argv(shim: Sequence[str], run: str, resources: pb.Resources, grace: float, *, version: int) -> list[str]:
    """The ``systemd-run`` line for a shim. Only the shim gets SIGTERM; it passes it on and waits."""
    properties = {
        "Delegate": "yes",
        "KillMode": "mixed",
        "TimeoutStopSec": f"{int(grace) + 10}",
        "TasksMax": str(MAX_PROCESSES),
        "Before": WORKLOAD_SERVICE,
        "UMask": "0077",
        "MemoryAccounting": "yes",
        "CPUAccounting": "yes",
    }
    if version >= _OOM_POLICY_SINCE:
        properties["OOMPolicy"] = "continue"  # the shim tells of it
    if resources.memory_limit_bytes:
        properties["MemoryMax"] = str(resources.memory_limit_bytes)
        properties["MemorySwapMax"] = "0"
    if resources.cpu_limit_millis:
        properties["CPUQuota"] = f"{max(1.0, resources.cpu_limit_millis / 10):g}%"
    if resources.cpu_request_millis:
        properties["CPUWeight"] = str(weight(resources.cpu_request_millis))
    settings = [f"--property={name}={value}" for name, value in properties.items()]
    return ["systemd-run", "--quiet", "--collect", f"--unit={unit_name(run)}", *settings, "--", *shim]


def by_systemd(argv: Sequence[str]) -> None:
    """Start a shim as a unit; blocks until systemd has taken it.

    Raises:
        RunError: it refuses.
    """
    _start(argv, dict(os.environ))


def by_session(shim: Sequence[str], order: Sequence[str]) -> None:
    """Start a shim in a session of its own, whose parent is init; blocks until it has left us.

    Raises:
        RunError: it cannot be started.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    if not _archive():
        env["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    _start([*shim, DETACH, *order], env)


def _start(argv: Sequence[str], env: dict[str, str]) -> None:
    """Run it with its messages in a file: a pipe would stay open for as long as the shim lives."""
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=LAUNCH_SECONDS,
                check=False,
                cwd="/",
                env=env,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(REASON, f"cannot start a supervisor for the command: {error}") from error
        if done.returncode != 0:
            said.seek(0)
            why = said.read(4096).decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise RunError(REASON, f"cannot start a supervisor for the command: {why}")
