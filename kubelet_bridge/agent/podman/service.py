"""The one ``podman system service`` that the agent talks to: found when it runs, started when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.podman.client import ApiError, Client
from kubelet_bridge.agent.threads import in_thread

log = logging.getLogger(__name__)

START_SECONDS = 60.0

# What podman must not take from the image it happens to run in. Capabilities are containerd's default set. With
# cgroupfs a container is no unit of systemd's: it starts sooner, and a shutdown does not end it before its turn. An
# ended exec session can be asked for its code so many seconds (podman's 300 leave a process each for that long).
CONFIGURATION = """\
[containers]
default_capabilities = [
  "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
  "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]
pids_limit = 0

[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
exit_command_delay = 10
"""


class Service:
    """Keeps it running; ``client`` talks to it."""

    def __init__(self, directory: Path, *, program: str = "podman") -> None:
        """``directory`` is for its socket and the like, in memory; nothing happens yet."""
        self._directory = directory
        self._program = program
        self._socket = directory / "podman.sock"
        self._lock = asyncio.Lock()
        self.client = Client(str(self._socket))

    async def ensure(self) -> None:
        """Return once it answers.

        Raises:
            RunError: it cannot be started.
        """
        async with self._lock:
            if not await self._answers():
                await self._start()

    async def restart(self) -> None:
        """Let it read the system's configuration again; containers run on."""
        async with self._lock:
            await in_thread(self._end)
            await self._start()

    async def _answers(self) -> bool:
        try:
            await self.client.call("GET", "/_ping")
        except OSError:
            return False
        except ApiError:
            return True
        return True

    async def _start(self) -> None:
        await in_thread(self._configure)
        environment = {**os.environ, "CONTAINERS_CONF": str(self._directory / "containers.conf")}
        environment.pop("NOTIFY_SOCKET", None)
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *("system", "service", "--time=0", f"unix://{self._socket}"),
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise RunError("RuntimeError", f"cannot start {self._program}: {error.strerror}") from error
        await in_thread(replace_file, self._pid_file, str(process.pid).encode())
        for _ in range(int(START_SECONDS / 0.1)):
            if process.returncode is not None:
                raise RunError("RuntimeError", f"podman's service has ended with code {process.returncode}")
            if await self._answers():
                return
            await asyncio.sleep(0.1)
        raise RunError("RuntimeError", f"podman's service does not answer after {START_SECONDS:.0f} seconds")

    @property
    def _pid_file(self) -> Path:
        return self._directory / "podman.pid"

    def _configure(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._directory / "containers.conf", CONFIGURATION.encode())
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()

    def _end(self) -> None:
        """End the service that was started here, by this agent or one before it."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if str(self._socket).encode() in command:
            log.info("restarting podman's service")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
