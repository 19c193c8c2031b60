"""What every mode's guest is: a specification, and a state whose changes are announced."""

from collections.abc import Callable

from kubelet_bridge.devcluster.devhost.runtime import GuestSpec, GuestState, GuestUsage


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

    async def usage(self) -> GuestUsage | None:
        """Nobody measures it."""
        return None

    def _set(self, state: GuestState) -> None:
        if state != self._state:
            self._state = state
            self._announce()
