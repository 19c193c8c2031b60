"""Flow control: how much one direction of a stream may still carry. No I/O."""

from __future__ import annotations

# A grant beyond this is a mistake or an attack; nobody has so much waiting.
MAX_WINDOW = 16 * 1024 * 1024


class WindowExceeded(Exception):
    """The other side sent more than it was granted, or granted more than there can be."""


class Window:
    """Bytes that may still go one way. It never gets negative and never grows beyond ``MAX_WINDOW``."""

    def __init__(self, size: int) -> None:
        if not 0 <= size <= MAX_WINDOW:
            raise WindowExceeded(f"a window of {size} bytes")
        self.left = size

    def grant(self, size: int) -> None:
        """The receiver has taken ``size`` bytes.

        Raises:
            WindowExceeded: that would be more than there can be.
        """
        if size < 0 or self.left + size > MAX_WINDOW:
            raise WindowExceeded(f"{size} bytes granted on top of {self.left}")
        self.left += size

    def spend(self, size: int) -> None:
        """``size`` bytes go, or came.

        Raises:
            WindowExceeded: there is not so much left.
        """
        if size > self.left:
            raise WindowExceeded(f"{size} bytes where {self.left} were granted")
        self.left -= size
