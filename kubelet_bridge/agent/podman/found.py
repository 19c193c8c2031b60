"""What podman says of its containers, as runs. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Mapping

from kubelet_bridge.agent.driver import Exit, Run
from kubelet_bridge.agent.podman.spec import LABEL

RUNNING = {"running", "paused", "stopping", "stopped"}
# What container runtimes say of a container that the machine has taken down with itself.
LOST_CODE = 255
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def nanoseconds(text: str) -> int:
    """A time in RFC 3339 as Go prints it; 0 for Go's zero time and for what is none."""
    match = _TIME.fullmatch(text)
    if match is None or text.startswith("0001-"):
        return 0
    whole, fraction, zone = match.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone)).astimezone(timezone.utc)
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def run(inspected: Mapping[str, Any], *, exit: Exit | None = None) -> Run:  # noqa: A002 - the field's name
    """A container that has been inspected; raises KeyError when it is none of ours."""
    label = {
        key[len(LABEL) :]: str(value) for key, value in inspected["Config"]["Labels"].items() if key.startswith(LABEL)
    }
    return Run(
        id=str(inspected["Id"]),
        container=label["container"],
        attempt=int(label["attempt"]),
        started_at=nanoseconds(str(inspected["State"]["StartedAt"])),
        boot=label["boot"],
        log_path=label["log"],
        image=label["image"],
        image_id=label["image-id"],
        exit=exit,
    )


def over(state: Mapping[str, Any], *, message: str, oom_killed: bool, now: int) -> Exit | None:
    """How a run ended, from its ``State``; None while it runs. Podman does not tell signals from codes above 128."""
    if state["Status"] in RUNNING:
        return None
    finished = nanoseconds(str(state["FinishedAt"]))
    started = nanoseconds(str(state["StartedAt"]))
    code = int(state["ExitCode"])
    if finished <= started or code < 0:  # it ran when the machine went down, so nobody saw its end
        code, finished = LOST_CODE, now
    oom = code == 137 and (oom_killed or bool(state.get("OOMKilled")))
    return Exit(code, 9 if oom else 0, oom, started, finished, message)
