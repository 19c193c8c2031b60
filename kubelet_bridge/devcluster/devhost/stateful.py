"""What every mode's guest is: a specification, and a state whose changes are announced."""

from collections.abc import Callable

import msgspec

from kubelet_bridge.devcluster.devhost import hotplug
from kubelet_bridge.devcluster.devhost.runtime import GuestSpec, GuestState, GuestUsage
from kubelet_bridge.errors import Terminal


class StatefulGuest:
    """The beginning of a guest."""

    def __init__(self, spec: GuestSpec, announce: Callable[[], None]) -> None:
        self._spec = spec
        self._announce = announce
        self._state = GuestState()

    @property
    def spec(self) -> GuestSpec:
        """What it was started from."""
        return self._spec

    @property
    def state(self) -> GuestState:
        """As of now."""
        return self._state

    @property
    def plugged(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    async def plug(self, vmi: bytes) -> None:
        """Raises ``Terminal`` when there is something to plug in."""
        if hotplug.wanted(msgspec.json.decode(vmi)):
            raise Terminal("guests of this mode have no disks that could be plugged in", reason="CannotPlug")

    async def usage(self) -> GuestUsage | None:
        """Nobody measures it."""
        return None

    def _set(self, state: GuestState) -> None:
        if state != self._state:
            self._state = state
            self._announce()
