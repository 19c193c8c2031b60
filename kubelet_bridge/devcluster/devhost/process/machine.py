"""The first process of a guest (pid 1 of its namespaces): makes its root, keeps its agent running, ends it in order.

Run by path, with nothing but the standard library: ``machine.py DIRECTORY HOSTNAME PYTHON REPORT``. It writes its pid,
as the host sees it, to the file descriptor REPORT, and closes it when the guest is set up. SIGTERM is the power
button, SIGINT asks for a reboot; how it ended is left in ``DIRECTORY/outcome``.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

AGENT = "/var/lib/kubelet-bridge/agent/current.pyz"
SEED = "/var/lib/cloud/seed/nocloud"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
RESTART_SECONDS = 1.0
LAST_SECONDS = 2.0
"""For what is still there when the agent has stopped the containers."""

_AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_POWER = {"poweroff": "TERM", "halt": "TERM", "shutdown": "TERM", "reboot": "INT"}


def main(directory: str, hostname: str, python: str, report: str) -> None:
    """Be the machine until it is switched off."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    channel = int(report)
    os.write(channel, Path("/proc/self").readlink().name.encode() + b"\n")  # /proc is still the host's
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    socket.sethostname(hostname)
    make_root(Path(directory))
    os.write(channel, b"up\n")
    os.close(channel)
    outcome = Machine(python).run()
    with os.fdopen(os.open("outcome", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=place), "w") as file:
        file.write(outcome)


def make_root(directory: Path) -> None:
    """Enter a root of our own: this machine's files below, what the guest writes in a layer of its own."""
    root = directory / "root"
    layers = f"lowerdir=/,upperdir={directory / 'written'},workdir={directory / 'work'}"
    _mount("overlay", root, "overlay", layers)
    _mount("proc", root / "proc", "proc")
    _mount("sysfs", root / "sys", "sysfs", "ro")
    for name in ("run", "tmp"):
        _mount("tmpfs", root / name, "tmpfs", "mode=1777" if name == "tmp" else "mode=755")
    _make_devices(root / "dev")
    boot_id = root / "run" / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    _bind(boot_id, root / "proc/sys/kernel/random/boot_id")
    _make_power_commands(root / "usr/local/sbin")
    os.chroot(root)
    os.chdir("/")


def _make_devices(dev: Path) -> None:
    _mount("tmpfs", dev, "tmpfs", "mode=755")
    for name in _DEVICES:
        (dev / name).touch()
        _bind(Path("/dev") / name, dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("devpts", dev / "pts", "devpts", "newinstance,ptmxmode=0666,mode=620")
    _mount("tmpfs", dev / "shm", "tmpfs", "mode=1777")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")


def _make_power_commands(place: Path) -> None:
    """What would switch this machine off by its service manager must reach the guest's first process instead."""
    place.mkdir(parents=True, exist_ok=True)
    for name, number in _POWER.items():
        (place / name).unlink(missing_ok=True)
        (place / name).write_text(f"#!/bin/sh\nkill -{number} 1\n")
        (place / name).chmod(0o755)


def _mount(source: str, target: Path, kind: str, options: str = "") -> None:
    subprocess.run(["mount", "-t", kind, *(["-o", options] if options else []), source, str(target)], check=True)


def _bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


class Machine:
    """The agent and everything that has become ours since its parents ended."""

    def __init__(self, python: str) -> None:
        self._agent_argv = [python, "-I", "-S", AGENT]
        self._agent = 0
        self._start_at = 0.0

    def run(self) -> str:
        """Until somebody ends it; how, in one word."""
        _complete(self._spawn("seed", "--from", SEED, "--root", "/"))
        while True:
            self._keep_agent()
            left = max(0.0, self._start_at - time.monotonic()) if not self._agent else 3600.0
            what = signal.sigtimedwait(_AWAITED, left)
            self._reap()
            if what is not None and what.si_signo != signal.SIGCHLD:
                return self._end("shutdown" if what.si_signo == signal.SIGTERM else "reboot")

    def _keep_agent(self) -> None:
        if not self._agent and time.monotonic() >= self._start_at:
            self._agent = self._spawn("run", "--driver", "host")

    def _end(self, outcome: str) -> str:
        if self._agent:
            _complete(self._spawn("stop"))
        _signal_all(signal.SIGTERM)
        deadline = time.monotonic() + LAST_SECONDS
        while self._reap() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
        return outcome

    def _spawn(self, *arguments: str) -> int:
        return os.posix_spawn(
            self._agent_argv[0], [*self._agent_argv, *arguments], ENVIRONMENT, setsigmask=(), setsid=True
        )

    def _reap(self) -> bool:
        """Bury the dead; whether anybody is left."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._agent:
                self._agent, self._start_at = 0, time.monotonic() + RESTART_SECONDS


def _complete(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return


def _signal_all(number: int) -> None:
    try:
        os.kill(-1, number)  # everybody in the namespace but its first process
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _arguments(given: Sequence[str]) -> "tuple[str, str, str, str]":
    directory, hostname, python, report = given
    return directory, hostname, python, report


if __name__ == "__main__":
    main(*_arguments(sys.argv[1:]))
