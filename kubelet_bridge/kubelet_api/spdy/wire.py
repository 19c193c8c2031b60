"""What carries a SPDY connection: bytes both ways, in order."""

from typing import Protocol


class Wire(Protocol):
    """A connection whose HTTP part is over."""

    async def receive(self) -> bytes:
        """What has come, in any pieces; empty when the other side has ended, and from then on."""

    async def send(self, data: bytes) -> None:
        """Pass ``data`` on, waiting while the other side takes no more. One call at a time.

        Raises:
            OSError: it is gone.
        """

    def abort(self) -> None:
        """Cut it off; what has not been sent is lost."""
