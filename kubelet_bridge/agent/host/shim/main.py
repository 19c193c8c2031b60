"""A shim's life: claim the order, start the command, watch it, leave the record."""

# ruff: noqa: PTH103, PTH108, PTH118, PTH120, PTH123 - a shim has no room for pathlib

from __future__ import annotations

import os
import socket
import sys
import time

from kubelet_bridge.agent.host import crilog, records, wire
from kubelet_bridge.agent.host.shim import kernel, oom
from kubelet_bridge.agent.host.shim.launch import StartFailed, launch
from kubelet_bridge.agent.host.shim.spec import Spec
from kubelet_bridge.agent.host.shim.supervisor import Supervisor

DETACH = "--detach"


def run(arguments: list[str]) -> int:
    """``[--detach] RUN_DIRECTORY ORDER``: the first survives a boot, the second is a path without its suffix.

    With ``--detach`` it leaves its parent, whose child then ends at once.
    """
    detach = arguments[:1] == [DETACH]
    directory, order = arguments[1:] if detach else arguments
    if detach and os.fork():
        return 0
    os.chdir("/")
    _spare_me()
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    socket_path = order + records.SOCKET_SUFFIX
    listener = wire.listen(socket_path)
    try:
        with open(order + records.SPEC_SUFFIX, "rb") as file:
            text = file.read()
        if not records.claim(order + records.SPEC_SUFFIX):
            return 1
        _serve(Spec.load(text), directory, listener)
    finally:
        os.unlink(socket_path)
    return 0


def _serve(spec: Spec, directory: str, listener: socket.socket) -> None:
    message_file = os.path.join(directory, records.TERMINATION)
    started_at = time.time_ns()
    os.makedirs(os.path.dirname(spec.log), mode=0o700, exist_ok=True)
    log = crilog.CriLog(spec.log, spec.log_bytes, spec.log_files)
    events = spec.memory_events or oom.own_directory()
    kills_before = oom.kills(events)
    try:
        command = launch(spec, message_file)
    except StartFailed as error:
        failure = {"exit_code": error.exit_code, "reason": error.reason, "message": str(error), "at": started_at}
        records.write(directory, records.ERROR, failure)
        return
    supervisor = Supervisor(spec, command, listener, log)
    records.reserve(directory, records.EXIT)
    records.write(
        directory,
        records.STARTED,
        {"pid": command.pid, "started_at": started_at, "boot_id": records.boot_id(), "cgroups": spec.cgroups},
    )
    status = supervisor.watch()
    log.close()
    killer = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 128 + killer if killer else os.WEXITSTATUS(status)
    end: dict[str, object] = {
        "exit_code": code,
        "signal": killer,
        "oom_killed": bool(code) and oom.kills(events) > kills_before,
        "started_at": started_at,
        "finished_at": time.time_ns(),
    }
    records.write(directory, records.EXIT, end)


def _spare_me() -> None:
    """When memory is short the command goes, not the one that can tell of it; children are made like any other."""
    for value in (b"-1000", b"-900"):
        try:
            with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
                file.write(value)
        except OSError:
            continue
        return


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
