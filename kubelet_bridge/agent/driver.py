"""What runs containers: podman, or the guest's own system. It acts and tells; when to act, ``pod`` decides.

A driver keeps containers running when the agent ends, and finds them again: everything it must remember is on disk or
in the runtime. All coroutines run on the agent's one event loop and never block it.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Protocol, Sequence

from kubelet_bridge.agent.v1 import agent_pb2 as pb


class RunError(Exception):
    """A container could not be pulled, made or started; ``reason`` is what ``kubectl get pods`` shows.

    Attributes:
        exit_code: what a run that could not be started counts as: 127 when there is no such program, 126 when it may
            not be run, else 128.
    """

    def __init__(self, reason: str, message: str, *, exit_code: int = 128) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code = exit_code


class Exit(NamedTuple):
    """How a run ended. ``signal`` is 0 unless one ended it; ``exit_code`` is then 128 + signal."""

    exit_code: int
    signal: int
    oom_killed: bool
    started_at: int
    finished_at: int
    message: str = ""


class Run(NamedTuple):
    """One run of one container, as the driver knows it.

    Attributes:
        id: the driver's name for this run; another one with each start.
        container: the container's name in the manifest.
        attempt: its restart count.
        started_at: nanoseconds since the epoch.
        boot: ``PodManifest.boot`` it was started for.
        log_path: a log in CRI format (``2016-10-06T00:17:09.669794202Z stdout F line``), which grows while it runs.
        exit: None while it runs.
    """

    id: str
    container: str
    attempt: int
    started_at: int
    boot: str
    log_path: str
    image: str
    image_id: str
    exit: Exit | None = None


class Process(Protocol):
    """A process somebody is connected to: exec, attach, or a forwarded connection."""

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """The next output, at most 64 KiB, with its channel; empty bytes when that channel ends; None when all have."""

    async def write(self, data: bytes) -> None:
        """Input; returns when it was taken."""

    async def close_stdin(self) -> None:
        """There is no more input."""

    async def resize(self, columns: int, rows: int) -> None:
        """The terminal's size."""

    async def wait(self) -> tuple[int, int]:
        """Exit code and signal, once it has ended (0 and 0 for what has none)."""

    async def kill(self) -> None:
        """Nobody is connected any more: end it (exec), or only let go of it (attach)."""


class Driver(Protocol):
    """One way of running containers."""

    async def prepare(self, manifest: pb.PodManifest) -> None:
        """Make volumes and files ready, and bring those that changed up to date. Repeating it is harmless.

        Raises:
            RunError: a volume cannot be made ready.
        """

    async def runs(self) -> list[Run]:
        """Every run that is known, ended ones that were not removed included: also those of an agent before us.

        Raises:
            RunError: what runs them does not answer.
        """

    async def image(
        self, manifest: pb.PodManifest, container: pb.Container, pulling: Callable[[], None]
    ) -> tuple[str, bool]:
        """Make the image available; its id, and whether it was pulled for that. ``pulling`` is called before a pull.

        Raises:
            RunError: ``ErrImagePull``, ``ErrImageNeverPull``, ``InvalidImageName``.
        """

    async def start(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        """Make and start one run.

        Raises:
            RunError: ``CreateContainerConfigError``, ``CreateContainerError``, ``RunContainerError``.
        """

    async def wait(self, run: Run) -> Exit:
        """How it ended, once it has."""

    async def stop(self, run: Run, signal: str, grace: float) -> None:
        """Signal it, and kill it after ``grace`` seconds; returns when it has ended."""

    async def remove(self, run: Run) -> None:
        """Forget an ended run with its writable layer; its log stays."""

    async def exec(
        self,
        run: Run | None,
        command: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int],
        env: Sequence[tuple[str, str]] = (),
    ) -> Process:
        """Start a process in the container, or on the guest's own system when ``run`` is None.

        Raises:
            RunError: ``CannotRun``: there is no such file, or it may not be run.
        """

    async def attach(self, run: Run, *, stdin: bool, tty: bool) -> Process:
        """Connect to the container's main process."""

    async def usage(self, run: Run) -> pb.ContainerUsage:
        """What it has used so far; zeros where that is not known."""

    async def close(self) -> None:
        """Let go; what runs, runs on."""
