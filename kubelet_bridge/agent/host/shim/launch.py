"""From an order to a running command, or to the reason why not."""

# ruff: noqa: PTH103, PTH112, PTH120, PTH123, S606 - a shim has no room for pathlib, and runs commands

from __future__ import annotations

import errno
import json
import os
import signal

from kubelet_bridge.agent.host import becoming
from kubelet_bridge.agent.host.shim import kernel
from kubelet_bridge.agent.host.shim.spec import Spec

# As container runtimes and shells have it.
NOT_FOUND = 127
NOT_EXECUTABLE = 126
NOT_STARTED = 128


class StartFailed(Exception):
    """The command could not be started.

    Attributes:
        exit_code: what the run counts as.
        reason: ``ContainerCannotRun`` for the file, ``StartError`` for everything else.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.reason = "StartError" if exit_code == NOT_STARTED else "ContainerCannotRun"


class Command:
    """A running command and our ends of its pipes; -1 for one it does not have. With a terminal all are one."""

    __slots__ = ("pid", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


def launch(spec: Spec, message_file: str) -> Command:
    """Start it; returns when the program itself runs.

    Raises:
        StartFailed: it does not.
    """
    theirs, ours = _terminal(spec) if spec.tty else _pipes(spec)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_command(spec, theirs, writing, message_file)
    os.close(writing)
    for descriptor in set(theirs):
        os.close(descriptor)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    if said:
        os.waitpid(pid, 0)
        code, message = json.loads(said)
        raise StartFailed(code, message)
    return Command(pid, *ours)


def _terminal(spec: Spec) -> tuple[list[int], tuple[int, int, int]]:
    ours, theirs = os.openpty()
    becoming.set_size(ours, 80, 24)
    if os.geteuid() == 0:
        os.fchown(theirs, spec.uid, -1)
    os.set_blocking(ours, False)
    return [theirs, theirs, theirs], (ours, ours, -1)


def _pipes(spec: Spec) -> tuple[list[int], tuple[int, int, int]]:
    out, out_theirs = os.pipe()
    err, err_theirs = os.pipe()
    if spec.stdin:
        in_theirs, into = os.pipe()
        os.set_blocking(into, False)
    else:
        in_theirs, into = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
    if os.geteuid() == 0:  # so that /dev/stdout can be opened again by another user
        os.fchown(out_theirs, spec.uid, -1)
        os.fchown(err_theirs, spec.uid, -1)
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    return [in_theirs, out_theirs, err_theirs], (into, out, err)


def _become_command(spec: Spec, descriptors: list[int], report: int, message_file: str) -> None:
    """The child: never returns."""
    failed = [NOT_STARTED, "it ended before it began"]
    try:
        _settle(spec, descriptors, message_file)
        _chdir(spec.cwd)
        _execute(spec)
    except StartFailed as error:
        failed = [error.exit_code, str(error)]
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must be told
        failed = [NOT_STARTED, str(error)]
    finally:
        os.write(report, json.dumps(failed).encode())
        os._exit(NOT_STARTED)


def _settle(spec: Spec, descriptors: list[int], message_file: str) -> None:
    os.setsid()
    if spec.tty:
        becoming.own_terminal(descriptors[0])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    becoming.join_cgroup([f"{directory}/cgroup.procs" for directory in spec.cgroups])
    becoming.like_any_other()
    _limit_view(spec, message_file)
    for capability in spec.drop_capabilities:
        kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
    becoming.become(spec.uid, spec.gid, spec.groups)
    if spec.no_new_privileges:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the user changed: that resets it
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.umask(0o022)


def _limit_view(spec: Spec, message_file: str) -> None:
    """Lead the message's path to this run's own file, and make the root read-only, where that can be done."""
    path = spec.termination_path
    if not (path or spec.read_only_root) or not kernel.own_mounts():
        return
    if path and not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        kernel.bind(message_file, path)
    if spec.read_only_root and not kernel.read_only("/"):
        raise StartFailed(NOT_STARTED, "the root file system cannot be made read-only here")


def _chdir(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise StartFailed(NOT_STARTED, f'chdir to cwd ("{directory}") failed: {why}') from error


def _execute(spec: Spec) -> None:
    name = spec.argv[0]
    refused = 0
    candidates = [name] if "/" in name else [f"{one or '.'}/{name}" for one in spec.env.get("PATH", "").split(":")]
    for path in candidates:
        try:
            os.execve(path, spec.argv, spec.env)
        except OSError as error:  # noqa: PERF203 - that is how a path is searched
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                refused = error.errno or errno.EACCES
    if not refused:
        why = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
        raise StartFailed(NOT_FOUND, f'exec: "{name}": {why}')
    raise StartFailed(NOT_EXECUTABLE, f'exec: "{name}": {os.strerror(refused).lower()}')
