"""Why there is no log to be had, in the kubelet's words and with its status."""

import msgspec

from kubelet_bridge.errors import Terminal


class LogsRefused(Terminal):
    """Answered with ``status`` and the message, to the letter: the API server passes both on."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, reason="LogsRefused")
        self.status = status


def quoted(text: str) -> str:
    """As Go's ``%q`` writes it."""
    return msgspec.json.encode(text).decode()
