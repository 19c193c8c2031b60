"""What QEMU's events and run states mean for a guest. Pure.

Names: qapi/run-state.json in QEMU. The machine is started so that it stops, instead of ending, when its guest has shut
down or panicked: how it ended can still be asked when nobody was listening.
"""

from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost.runtime import Exit, GuestState

MIGRATING = frozenset({"none", "setup", "active", "device", "pre-switchover", "postcopy-active", "wait-unplug"})
"""Migration states that are not the last."""

_ENDED = {
    "shutdown": Exit.SHUTDOWN,
    "guest-panicked": Exit.CRASHED,
    "internal-error": Exit.CRASHED,
    "postmigrate": Exit.MIGRATED,
}
_STOPPED = ("paused", "prelaunch", "suspended", "io-error")


def found(status: str, started_at: datetime) -> GuestState:
    """The state of a guest that is found with the run state ``status``."""
    return GuestState(started_at=started_at, paused=status in _STOPPED, exit=_ENDED.get(status))


def after(state: GuestState, event: str, data: dict[str, Any], now: datetime) -> GuestState:
    """The state after an event; a guest that has ended stays so.

    Args:
        state: before.
        event: QEMU's name of it.
        data: what came with it.
        now: when the guest was started, if this event tells that it was.
    """
    if state.exit is not None:
        return state
    match event:
        case "RESUME":
            return msgspec.structs.replace(state, started_at=state.started_at or now, paused=False)
        case "STOP" if state.running:
            return msgspec.structs.replace(state, paused=True)
        case "RESET":
            return msgspec.structs.replace(state, booted=False, frozen=False)
        case "VSERPORT_CHANGE" if not data.get("open"):
            return msgspec.structs.replace(state, booted=False)
        case "SHUTDOWN":
            return _ended(state, _reason(str(data.get("reason", "")), guest=bool(data.get("guest"))))
        case "GUEST_PANICKED":
            return _ended(state, Exit.CRASHED)
        case _:
            return state


def _reason(reason: str, *, guest: bool) -> Exit:
    if reason == "guest-panic":
        return Exit.CRASHED
    return Exit.SHUTDOWN if guest else Exit.DESTROYED


def _ended(state: GuestState, reason: Exit) -> GuestState:
    return msgspec.structs.replace(state, exit=reason, paused=False, frozen=False)
