"""For a node whose guests have no agents: nobody is expected, and nothing is known of anybody."""

from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.meta import PodKey


class NoGuests:
    """Satisfies ``reconcile.ports.GuestPort``."""

    def get(self, uid: str) -> Guest | None:  # noqa: ARG002 - the port's
        """No agent belongs to any Pod."""
        return None

    def expect(self, key: PodKey, *, boot: str) -> None:
        """Nobody will come."""

    def refresh(self, key: PodKey) -> None:
        """Nobody asks for it."""

    def shut_down(self, uid: str, *, grace: int, reason: str) -> None:
        """KubeVirt does it alone."""

    async def forget(self, uid: str) -> None:
        """Nothing was remembered."""
