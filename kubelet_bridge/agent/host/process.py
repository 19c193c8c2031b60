"""A process that somebody is connected to, on the guest's own system: exec, hooks, probes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import Callable, NamedTuple, Sequence

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host import becoming
from kubelet_bridge.agent.host.identity import Identity
from kubelet_bridge.agent.host.outputs import Outputs, PipeOutput, TerminalOutput
from kubelet_bridge.agent.v1 import agent_pb2 as pb

CANNOT_RUN = "CannotRun"
# What is read ahead of each pipe.
PIPE_BYTES = 64 * 1024
# How long a process may take to go after SIGHUP, when nobody is connected to it any more.
HANGUP_SECONDS = 5.0
# After the process has ended, what it left behind may hold its outputs open; so much silence ends them.
LINGER_SECONDS = 1.0


class Command(NamedTuple):
    """What to run, as whom and where.

    Attributes:
        cgroups: ``cgroup.procs`` files of the container it belongs to.
    """

    argv: Sequence[str]
    env: dict[str, str]
    cwd: str
    who: Identity
    cgroups: Sequence[str] = ()


class _Exit(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells when the process is gone: ``Process.wait()``, in many a Python, waits for its outputs to be read too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=PIPE_BYTES, loop=loop)
        self.happened = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.happened.set()


class LocalProcess:
    """Implements ``driver.Process`` for a child of the agent. It is the leader of a session of its own."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        transport: asyncio.SubprocessTransport,
        exited: asyncio.Event,
        outputs: Outputs,
        *,
        terminal: int | None = None,
    ) -> None:
        self._process = process
        self._transport = transport
        self._exited = exited
        self._outputs = outputs
        self._terminal = terminal
        self._ending: asyncio.Task[None] | None = None
        self._waiter = tasks.start(self._wait(), f"process {process.pid}")

    @property
    def pid(self) -> int:
        """The process, and its process group."""
        return self._process.pid

    async def read(self) -> tuple[pb.Channel.ValueType, bytes] | None:
        """As in ``driver.Process``."""
        return await self._outputs.read()

    async def write(self, data: bytes) -> None:
        """As in ``driver.Process``; input for what reads no more is thrown away."""
        if self._terminal is not None:
            await self._outputs.write(data)
        elif self._process.stdin is not None:
            try:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                pass

    async def close_stdin(self) -> None:
        """As in ``driver.Process``. A terminal has no end of input; its end-of-file character stands for it."""
        if self._terminal is not None:
            await self._outputs.write(b"\x04")
        elif self._process.stdin is not None:
            self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """As in ``driver.Process``."""
        if self._terminal is not None and not self._outputs.closed and columns and rows:
            becoming.set_size(self._terminal, columns, rows)

    async def wait(self) -> tuple[int, int]:
        """As in ``driver.Process``: 128 + n and n when signal n ended it."""
        await asyncio.shield(self._waiter)
        code = self._process.returncode
        if code is None:  # it was collected by somebody else
            return 255, 0
        return (128 - code, -code) if code < 0 else (code, 0)

    async def kill(self) -> None:
        """End the whole group: SIGHUP, and SIGKILL when it has not gone after a while. Returns when it is gone.

        For one that has ended already it only lets go of its outputs; what it left running, runs on.
        """
        if self._ending is None:
            self._ending = tasks.start(self._end(), f"end of process {self.pid}")
        await asyncio.shield(self._ending)

    async def _wait(self) -> None:
        await self._exited.wait()
        self._outputs.linger(LINGER_SECONDS)

    async def _end(self) -> None:
        if not self._waiter.done():  # afterwards the number may be somebody else's
            self._signal(signal.SIGHUP)
            self._signal(signal.SIGCONT)
            await asyncio.wait({self._waiter}, timeout=HANGUP_SECONDS)
            self._signal(signal.SIGKILL)  # also what is left of the group when its leader has just gone
        await asyncio.shield(self._waiter)
        self._outputs.close()
        self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


async def run(command: Command, *, stdin: bool, tty: bool, size: tuple[int, int] = (0, 0)) -> LocalProcess:
    """Start a command.

    Raises:
        RunError: ``CannotRun``: no such file, no permission, no such directory.
    """
    if not command.argv:
        raise RunError(CANNOT_RUN, "there is no command to run", exit_code=126)
    if tty:
        return await _on_terminal(command, size)
    process, transport, exited = await _spawn(
        command,
        _preparation(command, None),
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101 - as above
    return LocalProcess(process, transport, exited, PipeOutput(process.stdout, process.stderr))


async def _on_terminal(command: Command, size: tuple[int, int]) -> LocalProcess:
    ours, theirs = os.openpty()
    try:
        columns, rows = size
        becoming.set_size(ours, columns or 80, rows or 24)
        os.fchown(theirs, command.who.uid, -1) if os.geteuid() == 0 else None
        process, transport, exited = await _spawn(
            command, _preparation(command, 0), stdin=theirs, stdout=theirs, stderr=theirs
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return LocalProcess(process, transport, exited, TerminalOutput(ours), terminal=ours)


async def _spawn(
    command: Command, preparation: Callable[[], None], *, stdin: int, stdout: int, stderr: int
) -> tuple[asyncio.subprocess.Process, asyncio.SubprocessTransport, asyncio.Event]:
    """As ``asyncio.create_subprocess_exec``, which keeps the transport to itself: only by that are pipes closed."""
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Exit(loop),
            *command.argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=command.env,
            cwd=command.cwd or "/",
            start_new_session=True,
            preexec_fn=preparation,
        )
        return asyncio.subprocess.Process(transport, protocol, loop), transport, protocol.happened
    except FileNotFoundError as error:
        raise RunError(CANNOT_RUN, _missing(command, error), exit_code=127) from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(CANNOT_RUN, f'exec: "{command.argv[0]}": {why}', exit_code=126) from error


def _missing(command: Command, error: FileNotFoundError) -> str:
    if error.filename == command.cwd and command.argv[0] != command.cwd:
        return f"chdir {command.cwd}: no such file or directory"
    if "/" in command.argv[0]:
        return f'exec: "{command.argv[0]}": stat {command.argv[0]}: no such file or directory'
    return f'exec: "{command.argv[0]}": executable file not found in $PATH'


def _preparation(command: Command, terminal: int | None) -> Callable[[], None]:
    """What the child does to itself. It runs after a fork of a process with threads: system calls only."""
    who, cgroups = command.who, list(command.cgroups)

    def prepare() -> None:
        if terminal is not None:
            becoming.own_terminal(terminal)
        becoming.join_cgroup(cgroups)
        becoming.like_any_other()
        os.umask(0o022)
        becoming.become(who.uid, who.gid, who.groups)

    return prepare
