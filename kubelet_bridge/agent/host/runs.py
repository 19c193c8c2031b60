"""The runs on disk: made, found again, and told how they ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import Exit, Run
from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.host import records, wire
from kubelet_bridge.agent.host.shim.spec import Spec

# As a kubelet has it for a container whose end nobody saw (ContainerStatusUnknown).
UNKNOWN_EXIT_CODE = 137
MESSAGE_BYTES = 4096


class Started(NamedTuple):
    """What a shim told of its command."""

    pid: int
    started_at: int
    cgroups: list[str]


class Runs:
    """All runs below two directories. Every method blocks, for as long as a disk does."""

    def __init__(self, paths: Paths) -> None:
        self._kept = paths.state / "runs"
        self._volatile = paths.run / "shims"
        self._logs = paths.logs

    def make(self, container: str, attempt: int, boot: str, image: str) -> Run:
        """A new run that nobody has begun."""
        run = secrets.token_hex(16)
        log = self._logs / container / f"{attempt}.log"
        facts = {"container": container, "attempt": attempt, "boot": boot, "image": image, "log": str(log)}
        directory = self.directory(run)
        for one in (directory, self._volatile):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        message = directory / records.TERMINATION
        message.touch()
        message.chmod(0o666)
        records.write(str(directory), records.RUN, facts)
        return _run(run, facts, 0)

    def directory(self, run: str) -> Path:
        """What survives a boot."""
        return self._kept / run

    def order(self, run: str) -> Path:
        """What does not, without its suffix."""
        return self._volatile / run

    def give_order(self, run: str, text: str) -> None:
        """Put down what the shim is to do."""
        path = str(self.order(run)) + records.SPEC_SUFFIX
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def keep_order(self, run: str, text: str) -> None:
        """Keep a copy for as long as the run is known: what joins the container later is to find the same as it did."""
        replace_file(self._copy(run), text.encode())

    def kept_order(self, run: str) -> Spec | None:
        """The copy; None when there is none."""
        try:
            return Spec.load(self._copy(run).read_bytes())
        except (OSError, ValueError, KeyError):
            return None

    def take_back(self, run: str) -> bool:
        """Take the order back; False when a shim has it already."""
        return records.claim(str(self.order(run)) + records.SPEC_SUFFIX)

    def socket(self, run: str) -> str:
        """Where its shim listens."""
        return str(self.order(run)) + records.SOCKET_SUFFIX

    def alive(self, run: str) -> bool:
        """Whether a shim watches it."""
        try:
            wire.connect(self.socket(run)).close()
        except OSError:
            return False
        return True

    def started(self, run: str) -> Started | None:
        """What its shim told when the command ran; None before that."""
        facts = records.read(str(self.directory(run)), records.STARTED)
        if facts is None:
            return None
        values: dict[str, Any] = facts
        return Started(values["pid"], values["started_at"], values["cgroups"])

    def failure(self, run: str) -> dict[str, Any] | None:
        """Why the command could not be started: ``exit_code``, ``reason``, ``message``, ``at``."""
        return records.read(str(self.directory(run)), records.ERROR)

    def exit(self, run: str) -> Exit | None:
        """How it ended; None when its shim has told nothing."""
        facts: dict[str, Any] | None = records.read(str(self.directory(run)), records.EXIT)
        if facts is not None:
            return Exit(message=self._message(run), **facts)
        failure = self.failure(run)
        if failure is not None:
            return Exit(failure["exit_code"], 0, False, failure["at"], failure["at"], failure["message"])
        return None

    def lost(self, run: str) -> Exit:
        """The end of one whose shim has gone without a word; it is kept, so that it is the same tomorrow."""
        started = self.started(run)
        begun = started.started_at if started is not None else 0
        facts: dict[str, Any] = {
            "exit_code": UNKNOWN_EXIT_CODE,
            "signal": 9,
            "oom_killed": False,
            "started_at": begun,
            "finished_at": max(begun, time.time_ns()),
        }
        records.write(str(self.directory(run)), records.EXIT, facts)
        return Exit(message="the machine was restarted, or the command's supervisor was killed", **facts)

    def all(self) -> list[Run]:
        """Every run that began. An order that no shim has taken is taken back, and its run forgotten."""
        found: list[Run] = []
        for directory in sorted(self._kept.glob("*")):
            facts: dict[str, Any] | None = records.read(str(directory), records.RUN)
            if facts is None or self.take_back(directory.name):
                shutil.rmtree(str(directory), ignore_errors=True)
                continue
            found.append(self._found(directory.name, facts))
        return found

    def forget(self, run: str) -> None:
        """Remove all of it but its log."""
        self.take_back(run)
        with contextlib.suppress(FileNotFoundError):
            self._copy(run).unlink()
        shutil.rmtree(str(self.directory(run)), ignore_errors=True)

    def _copy(self, run: str) -> Path:
        return self._volatile / f"{run}.order"

    def _found(self, run: str, facts: dict[str, Any]) -> Run:
        end = self.exit(run)
        if end is None and not self.alive(run):
            end = self.exit(run) or self.lost(run)  # it may have ended between the two questions
        started = self.started(run)
        begun = started.started_at if started is not None else end.started_at if end is not None else 0
        return _run(run, facts, begun)._replace(exit=end)

    def _message(self, run: str) -> str:
        try:
            with (self.directory(run) / records.TERMINATION).open("rb") as file:
                return file.read(MESSAGE_BYTES).decode(errors="replace")
        except OSError:
            return ""


def _run(run: str, facts: dict[str, Any], started_at: int) -> Run:
    return Run(
        id=run,
        container=facts["container"],
        attempt=facts["attempt"],
        started_at=started_at,
        boot=facts["boot"],
        log_path=facts["log"],
        image=facts["image"],
        image_id=facts["image"],
    )
